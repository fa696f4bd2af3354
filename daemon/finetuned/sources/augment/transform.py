"""
What a transform is: a way to draw a child of an exchange, and the proof that nothing else changed.

Pure. Does not know any transform.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from finetuned.sources.augment.exchange import Exchange, kept_values, occurrences, words_of

_LETTERS: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Transform:
    """
    One way to make a child.
    """

    name: str
    keeps: str
    """What must not change, as one sentence; *complaint* proves it for each child."""
    draw: Callable[[Exchange, random.Random], Exchange | None]
    """Returns a child; None if the exchange has nothing that this transform could change."""
    complaint: Callable[[Exchange, Exchange], str | None]
    """Given parent and child, returns what changed that must not, in one word; None if nothing."""


def lost_something(parent: Exchange, child: Exchange) -> str | None:
    """
    Return why a child that says the same in other words is none: the check that all of them share.

    The answer is the parent's to the last character, and each of its values stands in the prompt
    as often as in the parent's.
    """
    if child.answer != parent.answer:
        return "answer_changed"
    is_there = kept_values(parent)
    words = None
    for value, n in is_there.items():
        if " " in value or not value.isalnum():
            found = occurrences(value, child.prompt)
        else:
            words = list(words_of(child.prompt)) if words is None else words
            found = words.count(value)
        if found != n and occurrences(value, child.prompt) != occurrences(value, parent.prompt):
            return "value_lost"
    if _digits(parent.prompt) != _digits(child.prompt):
        return "number_changed"
    return None


def words_in_order(text: str) -> list[str]:
    """
    Return the letters and digits of a text as words in small letters, in their order.
    """
    return [word.casefold() for word in _LETTERS.findall(text)]


def _digits(text: str) -> list[str]:
    """Return everything with a digit in it, in its order."""
    return [word for word in words_of(text) if any(c.isdigit() for c in word)]
