"""
Which kept prompt a new one begins like, found in time that does not grow with their number.

A tree over blocks of tokens: prompts share its nodes as far as they begin alike. Pure; does
not know what is kept of a prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

Ids = tuple[int, ...]

BLOCK: Final = 8
"""Tokens of a node. A prompt that shares fewer with all others is not found."""


@dataclass(slots=True)
class _Node:
    """
    A beginning of whole blocks.
    """

    longer: dict[Ids, _Node] = field(default_factory=dict)
    """One block more."""
    prompts: dict[Ids, None] = field(default_factory=dict)
    """All that begin so, the newest last."""


class Beginnings:
    """
    A set of prompts.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, prompt: Ids) -> None:
        """
        Add a prompt; harmless if it is there.
        """
        node = self._root
        for block in _blocks(prompt):
            node = node.longer.setdefault(block, _Node())
            node.prompts[prompt] = None

    def remove(self, prompt: Ids) -> None:
        """
        Remove a prompt that is there.
        """
        node = self._root
        for block in _blocks(prompt):
            longer = node.longer[block]
            del longer.prompts[prompt]
            if not longer.prompts:
                del node.longer[block]
                return
            node = longer

    def match(self, prompt: Sequence[int]) -> tuple[Ids, int]:
        """
        Return a prompt that begins like *prompt*, and how many tokens they share.

        Whole blocks only, so that many prompts share the same; or all of *prompt* but its last
        token, which is always left over. None shares a block more.

        Returns:
            An empty prompt and 0 if none shares a block.
        """
        asked = tuple(prompt[:-1])
        node, depth = self._root, 0
        for block in _blocks(asked):
            longer = node.longer.get(block)
            if longer is None:
                break
            node, depth = longer, depth + BLOCK
        if not node.prompts:
            return (), 0
        found = next(reversed(node.prompts))
        n = len(asked) if found[: len(asked)] == asked else depth
        return found, n


def _blocks(prompt: Ids) -> Iterator[Ids]:
    """Yield the whole blocks that a prompt begins with."""
    for begin in range(0, len(prompt) - BLOCK + 1, BLOCK):
        yield prompt[begin : begin + BLOCK]
