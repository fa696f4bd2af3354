"""
An example in the making: the turns read so far, which of them carry loss, and the keys nobody uses.

Knows roles of messages; does not know how a format spells them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from finetuned.data.formats.keys import INVERTED_MARKS, MARKS, Keys, KeyUse, Row, shown
from finetuned.data.messages import Message, text_of
from finetuned.errors import MalformedExample

_ASKS_FOR_TRAINING: Final = frozenset(MARKS) - INVERTED_MARKS - {"weight"}
"""Marks that mean something on a turn that is not the assistant's; a weight of 1 is everywhere."""


@dataclass(slots=True)
class Draft:
    """
    What has been read of one row.
    """

    messages: list[Message] = field(default_factory=list)
    untrained: list[int] = field(default_factory=list)
    """Places in ``messages`` of assistant turns that carry no loss."""
    unused: set[str] = field(default_factory=set)
    """Keys that no reader knows, with the name of their list: ``context``, ``messages[].key``."""

    def add(self, message: Message, *, trained: bool = True) -> None:
        """
        Add one turn. An empty system turn is left out.
        """
        if message["role"] == "system" and not message["content"].strip():
            return
        if not trained and message["role"] == "assistant":
            self.untrained.append(len(self.messages))
        self.messages.append(message)

    def begin_with_system(self, row: Row) -> None:
        """
        Put the system prompt that stands beside the turns before them.

        Raises:
            MalformedExample: bad_content: it is no text, or several are given and differ.
        """
        given = {key: row[key] for key in SYSTEM_KEYS if row.get(key) is not None}
        if not given:
            return
        texts = {key: text_of(value, key) for key, value in given.items()}
        first = self.messages[0] if self.messages else None
        if first is not None and first["role"] == "system":
            texts["the first turn"] = first["content"]
        distinct = {text for text in texts.values() if text.strip()}
        if len(distinct) > 1:
            raise MalformedExample(
                "bad_content",
                f"{' and '.join(texts)} give different system prompts",
                hint="Keep one of them",
            )
        if distinct and (first is None or first["role"] != "system"):
            self.messages.insert(0, {"role": "system", "content": distinct.pop()})
            self.untrained = [i + 1 for i in self.untrained]

    def sort_keys(self, row: Row, keys: Keys, place: str = "") -> dict[str, object]:
        """
        Give every key of a row or a turn its place.

        Args:
            row: The row or the turn.
            keys: What its reader does with each key.
            place: What to write before a key in a message: ``messages[3].``.

        Returns:
            The keys that are not used, with their values.

        Raises:
            MalformedExample: A key changes the meaning of the row and cannot be honoured.
        """
        kept: dict[str, object] = {}
        for key, value in row.items():
            use = keys.get(key)
            if use is KeyUse.USED:
                continue
            if use is None:
                if value is not None:
                    self.unused.add(f"{place.partition('[')[0]}[].{key}" if place else key)
            elif use is not KeyUse.KEPT:
                use.check(f"{place}{key}", value)
                continue
            kept[key] = value
        return kept


SYSTEM_KEYS: Final = ("system", "system_prompt", "system_message")
"""Keys of a row that hold its system prompt."""


def is_trained(row: Row, place: str = "", *, assistant: bool = True) -> bool:
    """
    Return whether a row or a turn is marked to be trained, or not marked at all.

    Args:
        row: The row or the turn.
        place: What to write before a key in a message: ``messages[3].``.
        assistant: Whether it is, or has, an answer of the assistant.

    Raises:
        MalformedExample: unsupported_key: a mark is neither yes nor no, or asks for
            a turn to be trained that is not the assistant's.
    """
    trained = True
    for key in MARKS:
        value = row.get(key)
        if value is None:
            continue
        if value not in (0, 1) or not isinstance(value, bool | int | float):
            raise MalformedExample(
                "unsupported_key",
                f"{place}{key} = {shown(value)} is neither 0 nor 1, neither true nor false",
                hint="A turn is trained whole or not at all",
            )
        wanted = bool(value) != (key in INVERTED_MARKS)
        if wanted and not assistant and key in _ASKS_FOR_TRAINING:
            raise MalformedExample(
                "unsupported_key",
                f"{place}{key} = {shown(value)} asks for a turn to be trained that is not the "
                "assistant's",
                hint="Only answers of the assistant are trained: remove the mark",
            )
        trained = trained and wanted
    return trained
