"""
The table of infrastructure commands: every action with its domain, its values and its spellings.

The schema, the canonical form, the marks of copied values and the documents all follow from it.
Values are written in the order of the table. Does not know how values are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from finetuned.data.intents.fields import Action
from finetuned.data.intents.first_domains import FIRST_DOMAINS
from finetuned.data.intents.further_domains import FURTHER_DOMAINS

DOMAINS: Final = ("dns", "users", "samba", "mail", "pki", "firewall", "network")
"""What commands are about, in the order of the table."""

TABLE: Final[tuple[Action, ...]] = (*FIRST_DOMAINS, *FURTHER_DOMAINS)
"""Every action, those of the first set in the order in which documents list them."""

AROUND: Final = ("batch", "clarify", "none")
"""Answers of every domain: several steps, a question back, nothing."""


def _names(actions: Iterable[Action]) -> Iterator[str]:
    return (action.name for action in actions)


ACTIONS: Final = (*_names(TABLE), *AROUND)
"""All names of actions."""

FIRST: Final = (*_names(a for a in TABLE if a.first), *AROUND)
"""Names of the actions of the first set."""

REASONS: Final = ("question", "out_of_scope", "unsafe")
"""
Why nothing is to be done: the prompt is a question; it is about something else;
it asks for harm or for a secret.
"""

MISSING: Final = tuple(
    dict.fromkeys(
        (
            *("zone", "ip", "target", "username", "group", "name", "path", "share"),
            *(f.name for a in TABLE for f in a.fields if f.needed and f.constant is None),
        )
    )
)
"""What a clarify may ask for, in the order in which it asks."""


def action_of(name: str) -> Action:
    """
    Return the action *name* of the table.

    Raises:
        KeyError: There is none.
    """
    return _BY_NAME[name]


_BY_NAME: Final = {action.name: action for action in TABLE}
