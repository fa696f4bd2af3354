"""
The words of the puzzles with syllables and definitions, in two disjoint halves.

The hash of a word decides which half it belongs to, so that no puzzle of a
benchmark asks for a word that training has seen. Knows the word list; does
not know puzzles.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_FILES = ("words_short.tsv", "words_long.tsv")
_HELDOUT_OF_16 = 6
"""So many of sixteen words belong to the benchmarks."""


@dataclass(frozen=True, slots=True)
class Word:
    """
    One word of the list.
    """

    text: str
    """Lower case, a to z."""

    syllables: tuple[str, ...]
    """Two to four; joined they are the text."""

    definition: str
    """A few words that hold neither the word nor one of its stem; no two words share them."""


@cache
def words(*, heldout: bool) -> tuple[Word, ...]:
    """
    Return the words of one half, in the order of the list.

    Args:
        heldout: True for the words of the benchmarks, False for those of training.
    """
    return tuple(word for word in _all() if is_heldout(word.text) == heldout)


def is_heldout(text: str) -> bool:
    """
    Tell whether the word *text* belongs to the benchmarks.
    """
    digest = hashlib.sha256(f"syllo:{text}".encode()).digest()
    return int.from_bytes(digest[:4]) % 16 < _HELDOUT_OF_16


@cache
def _all() -> tuple[Word, ...]:
    found = []
    for name in _FILES:
        for line in files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines():
            text, syllables, definition = line.split("\t")
            found.append(Word(text, tuple(syllables.split("|")), definition))
    return tuple(found)
