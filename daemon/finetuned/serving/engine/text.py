"""
An answer's tokens as text that can be shown while it grows: whole characters, no stop text.

Pure: a function turns tokens into text; does not know models or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

_UNFINISHED: Final = "\N{REPLACEMENT CHARACTER}"
"""What a decoder writes for bytes that are not a whole character yet."""


class AnswerText:
    """
    The text of one answer.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        """
        Args:
            decode: Text of any number of tokens.
            stops: Texts that end the answer and are not part of it; none is empty.
        """
        self._decode = decode
        self._stops = tuple(stops)
        self._ids: list[int] = []
        self._context = 0
        """First token that the next ones are decoded with: some decoders look back."""
        self._read = 0
        """Tokens whose text is in ``text``."""
        self._given = 0
        """Characters that take() has returned."""
        self.text = ""
        """All of it, what take() holds back included."""
        self.stopped = False
        """Whether a stop text ended it."""

    def add(self, token: int) -> None:
        """
        Append the next token.
        """
        self._ids.append(token)
        before = self._decode(self._ids[self._context : self._read])
        whole = self._decode(self._ids[self._context :])
        if whole.endswith(_UNFINISHED) or len(whole) <= len(before):
            return
        self._context, self._read = self._read, len(self._ids)
        searched = len(self.text) - max((len(s) for s in self._stops), default=0)
        self.text += whole[len(before) :]
        self._cut(max(0, searched))

    def take(self, *, ended: bool) -> str:
        """
        Return what was added since the last call and is certain to be part of the answer.

        Args:
            ended: Whether nothing will be added; then nothing is held back.
        """
        end = len(self.text) if ended or self.stopped else self._certain()
        piece = self.text[self._given : end]
        self._given = max(self._given, end)
        return piece

    def _cut(self, begin: int) -> None:
        """Cut the text at the first stop text that ends after *begin*."""
        found = [place for stop in self._stops if (place := self.text.find(stop, begin)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True

    def _certain(self) -> int:
        """Return the number of characters that are not the beginning of a stop text."""
        for begin in range(max(self._given, len(self.text) - self._longest()), len(self.text)):
            if any(stop.startswith(self.text[begin:]) for stop in self._stops):
                return begin
        return len(self.text)

    def _longest(self) -> int:
        return max((len(stop) for stop in self._stops), default=0)
