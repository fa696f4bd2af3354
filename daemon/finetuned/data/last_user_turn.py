"""
The last user turn in the tokens of a row that was rendered for training.

Rows are kept as tokens, and the template has put its own words around what the user wrote.
They are found by rendering two conversations and looking what stands around their last turn.
Does not know files or what the texts are for.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from finetuned.data.families import Row
from finetuned.data.messages import Message
from finetuned.data.render import Renderer
from finetuned.errors import MalformedExample

_MARK: Final = "k7q0z"
"""What the user says in the rendered conversations: no template has it."""

_OTHER: Final = "w3x9v"


class LastUserTurn:
    """
    Reads rows that one renderer made.
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._before, self._after = _around(renderer)

    def of(self, row: Row) -> str:
        """
        Return what the user wrote last before the last answer of *row*; all of a plain text.
        """
        ids, supervised = np.asarray(row[0]), np.asarray(row[1]) > 0
        asked = np.flatnonzero(~supervised)
        end = 0 if len(asked) == 0 else int(asked[-1]) + 1
        before = np.flatnonzero(supervised[:end])
        begin = 0 if len(before) == 0 else int(before[-1]) + 1
        if end <= 1:  # a plain text: nothing comes before its first token
            return self._renderer.decode(ids.tolist())
        text = self._renderer.decode(ids[begin:end].tolist())
        if self._before:
            text = text.rpartition(self._before)[2]
        return text.removesuffix(self._after).strip()


def _around(renderer: Renderer) -> tuple[str, str]:
    """Return what the template puts right before and right after the last turn of a user."""
    first: list[Message] = [{"role": "user", "content": _MARK}]
    later: list[Message] = [
        {"role": "user", "content": _OTHER},
        {"role": "assistant", "content": _OTHER},
        *first,
    ]
    try:
        texts = [renderer.template.prompt(messages, None) for messages in (first, later)]
    except MalformedExample:
        return "", ""
    befores, afters = zip(*(_parted(text) for text in texts), strict=True)
    ending = _shared(*(before[::-1] for before in befores))
    return ending[::-1], _shared(*afters)


def _shared(a: str, b: str) -> str:
    """Return what both texts begin with."""
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _parted(text: str) -> tuple[str, str]:
    before, _, after = text.rpartition(_MARK)
    return before, after
