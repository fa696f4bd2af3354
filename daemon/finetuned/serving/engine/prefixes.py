"""
Prompts that were run, kept so that later prompts with the same beginning cost less.

Bounded in bytes; what was not used for the longest time goes first. Of one model. Does not
know requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from transformers import DynamicCache

from finetuned.inference.batches import MIN_SHARED
from finetuned.inference.prompt_cache import Prefix

_Ids = tuple[int, ...]


class KeptPrompts:
    """
    The keys and values of prompts, by their tokens.
    """

    def __init__(self, most_bytes: int) -> None:
        """
        Args:
            most_bytes: >= 0; 0 keeps nothing.
        """
        self._most = most_bytes
        self._kept: OrderedDict[_Ids, Prefix] = OrderedDict()
        self.bytes = 0
        """Memory that is in use."""

    def match(self, prompt: Sequence[int]) -> tuple[_Ids, int]:
        """
        Return the kept prompt that *prompt* shares most with, and how many tokens they share.

        At least one token of *prompt* is left over; fewer than MIN_SHARED count as none.
        """
        best: tuple[_Ids, int] = ((), 0)
        for ids in self._kept:
            longest = min(len(ids), len(prompt) - 1)
            if longest > best[1]:
                n = next((i for i in range(longest) if ids[i] != prompt[i]), longest)
                if n > best[1] and n >= MIN_SHARED:
                    best = (ids, n)
        return best

    def prefix(self, ids: _Ids, length: int) -> Prefix:
        """
        Return the first *length* tokens of a kept prompt, and count it as used.

        Returns:
            An empty prefix if *length* is 0.
        """
        if length == 0:
            return Prefix(DynamicCache(), 0)
        self._kept.move_to_end(ids)
        return self._kept[ids].cut(length)

    def has(self, prompt: Sequence[int]) -> bool:
        """
        Return whether all of *prompt* is kept.
        """
        return tuple(prompt) in self._kept

    def keep(self, prompt: Sequence[int], prefix: Prefix) -> None:
        """
        Keep all of *prompt*; drop others until the bytes suffice.
        """
        ids = tuple(prompt)
        if ids in self._kept or prefix.bytes > self._most:
            return
        self._kept[ids] = prefix
        self.bytes += prefix.bytes
        while self.bytes > self._most:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= dropped.bytes
