"""
Prompts that were run, kept so that later prompts with the same beginning cost less.

Bounded in bytes; what was not used for the longest time goes first. Of one model. Does not
know requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from transformers import DynamicCache

from finetuned.inference.prompt_cache import Prefix
from finetuned.serving.engine.beginnings import Beginnings, Ids


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
        self._kept: OrderedDict[Ids, Prefix] = OrderedDict()
        self._beginnings = Beginnings()
        self.bytes = 0
        """Memory that is in use."""

    def match(self, prompt: Sequence[int]) -> tuple[Ids, int]:
        """
        Return a kept prompt that begins like *prompt*, and how many tokens they share.

        At least one token of *prompt* is left over.
        """
        return self._beginnings.match(prompt)

    def prefix(self, ids: Ids, length: int) -> Prefix:
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
        self._beginnings.add(ids)
        self.bytes += prefix.bytes
        while self.bytes > self._most:
            gone, dropped = self._kept.popitem(last=False)
            self._beginnings.remove(gone)
            self.bytes -= dropped.bytes
