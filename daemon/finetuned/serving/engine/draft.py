"""
Guesses of the next tokens, from what was said before: the prompt, and earlier answers.

A guess that the model would have chosen anyway saves its passes; one that it would not costs
a few places of one pass. The answer is the same either way. Works on token ids; does not
know models.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

_LONGEST: Final = 4
"""Most tokens that a guess is made from."""

_SHORTEST: Final = 1
"""Fewest tokens, if the guess is copied from the prompt and the answer itself."""

_LEARNT: Final = 3
"""Fewest tokens, if the guess is copied from an earlier answer."""

_MOST_KEYS: Final = 50_000
"""Places in earlier answers that are remembered; the oldest go first."""


class Drafter:
    """
    Guesses for the answers of one model.
    """

    def __init__(self) -> None:
        self._learnt: OrderedDict[tuple[int, ...], list[int]] = OrderedDict()
        """What followed some tokens: the rest of an answer, as a list and a place in it."""

    def draft(self, prompt: Sequence[int], answer: Sequence[int], most: int) -> list[int]:
        """
        Return up to *most* tokens that may follow.

        Args:
            prompt: Token ids.
            answer: The answer so far; may be empty.
            most: >= 0.
        """
        guess: list[int] = []
        known = [*prompt, *answer]
        while len(guess) < most and (more := self._next(known)):
            more = more[: most - len(guess)]
            guess += more
            known += more
        return guess

    def learn(self, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """
        Remember an answer that has ended.
        """
        known = [*prompt[-_LONGEST:], *answer]
        begin = len(known) - len(answer)
        for place in range(begin, len(known)):
            for n in range(_LEARNT, _LONGEST + 1):
                key = tuple(known[place - n : place])
                if len(key) == n:
                    self._learnt[key] = known[place : place + 8]
                    self._learnt.move_to_end(key)
        while len(self._learnt) > _MOST_KEYS:
            self._learnt.popitem(last=False)

    def _next(self, known: list[int]) -> list[int]:
        """Return what followed the longest end of *known* that was seen before."""
        for n in range(_LONGEST, _SHORTEST - 1, -1):
            end = known[-n:]
            if found := _after_last(known, end):
                return found
            if n >= _LEARNT and (learnt := self._learnt.get(tuple(end))):
                return learnt
        return []


def _after_last(known: Sequence[int], end: Sequence[int]) -> list[int]:
    """Return up to 8 tokens that followed the last earlier place of *end* in *known*."""
    n = len(end)
    for place in range(len(known) - n - 1, -1, -1):
        if known[place : place + n] == end:
            return list(known[place + n : place + n + 8])
    return []
