"""
How far prompts are from those of a reference: unseen words, and distance by n-grams.

A prompt is a vector of the roots of the counts of its hashed n-grams of 3 and 4 bytes. No model is
asked: the distance knows spelling and wording, and no meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from finetuned.core.drift.asked import Asked, words_of
from finetuned.core.drift.measure import Measure, Values

DIMENSIONS: Final = 1024
MOST_BYTES: Final = 2000
"""Of a prompt; what follows is not looked at."""

_MULTIPLY: Final = np.uint64(0x9E3779B97F4A7C15)
_BLOCK: Final = 512
"""Prompts that are compared at once: bounds the memory."""

Vectors = npt.NDArray[np.float32]


class Known:
    """
    The wording of a reference: what is compared with it is not part of it.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """
        Args:
            texts: Prompts, at least one.
        """
        self._words = {word for text in texts for word in words_of(text)}
        self._vectors = _unit(_counts(texts))

    def unseen(self, text: str) -> float | None:
        """
        Return the share of the words of *text* that the reference lacks, None without words.
        """
        words = words_of(text)
        if not words:
            return None
        return sum(word not in self._words for word in words) / len(words)

    def distances(self, texts: Sequence[str]) -> list[float]:
        """
        Return the distance of each text to the nearest of the reference.

        1 - cosine, 0 to 1: 0 has the same n-grams, 1 has none in common.
        """
        found: list[float] = []
        for start in range(0, len(texts), _BLOCK):
            vectors = _unit(_counts(texts[start : start + _BLOCK]))
            nearest = (vectors @ self._vectors.T).max(axis=1)
            found += [float(d) for d in np.clip(1 - nearest, 0, 1)]
        return found


def _unit(counts: Vectors) -> Vectors:
    rooted = np.sqrt(counts)
    sizes = np.linalg.norm(rooted, axis=1, keepdims=True)
    unit: Vectors = rooted / np.maximum(sizes, np.float32(1e-9))
    return unit


def _counts(texts: Sequence[str]) -> Vectors:
    """Return the counts of hashed n-grams, shape (texts, DIMENSIONS)."""
    found = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        data = f" {' '.join(text.casefold().split())} ".encode("utf-8", "replace")[:MOST_BYTES]
        codes = np.frombuffer(data, dtype=np.uint8).astype(np.uint64) + np.uint64(1)
        for n in (3, 4):
            if len(codes) < n:
                continue
            mixed = np.full(len(codes) - n + 1, n, dtype=np.uint64)
            for i in range(n):
                mixed = (mixed ^ codes[i : len(codes) - n + 1 + i]) * _MULTIPLY
                mixed ^= mixed >> np.uint64(29)
            found[row] += np.bincount(
                (mixed % np.uint64(DIMENSIONS)).astype(np.int64), minlength=DIMENSIONS
            )
    return found


class Reference:
    """
    Prompts that others are compared with: one part is known, the other part is compared.

    A reference that was compared with itself would find no unseen word and no distance, and
    every other prompt would look moved.
    """

    def __init__(self, known: Sequence[Asked], compared: Sequence[Asked]) -> None:
        """
        Args:
            known: One or more prompts.
            compared: Others of the same kind.
        """
        self._known = Known([one.text for one in known])
        self.values: Values = self.measured(compared)
        """Of the prompts that are compared."""

    def measured(self, asked: Sequence[Asked]) -> Values:
        """
        Return the measures of *asked*.
        """
        texts = [one.text for one in asked]
        return {
            Measure.LENGTH: [float(len(text)) for text in texts],
            Measure.FORMAT: [one.form for one in asked],
            Measure.VOCABULARY: [self._known.unseen(text) for text in texts],
            Measure.WORDING: self._known.distances(texts),
        }


def distinct(asked: Sequence[Asked]) -> list[Asked]:
    """
    Return each different text once, the first that has it: who asks the same all day counts once.
    """
    found: dict[str, Asked] = {}
    for one in asked:
        found.setdefault(one.text, one)
    return list(found.values())
