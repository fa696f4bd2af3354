"""
How many rows of a file are nearly rows that earlier files had.

Two rows are near if they share at least NEAR of their wording (Jaccard index of the sets of
three tokens in a row, estimated by MinHash; Broder, SEQUENCES 1997). Sequences of tokens that
more than half of the rows of a file have, such as a chat template and its system prompt, tell
no two rows apart and are left out.

Pure. Does not know files on disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.integer[Any]]
"""The token ids of one row."""

NEAR: Final = 0.8
"""Share of their wording from which on two rows are near."""

HASHES: Final = 64
"""Values of a signature: the estimate is off by 5 points (standard error), at an index of 0.8."""
_BANDS: Final = 16
"""Rows are compared if one band of 4 values is equal: at an index of 0.8, 99.98% are."""

_ENOUGH: Final = 8
"""Rows of a file from which on what most of them share can be told."""

_EMPTY: Final = np.empty(0, dtype=np.uint64)
_MULTIPLY: Final = np.uint64(0x9E3779B97F4A7C15)
_FACTORS: Final = np.random.default_rng(0).integers(1, 2**63, HASHES, dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


@dataclass(frozen=True, slots=True)
class NearRows:
    """
    How many rows were looked at, and how many of them are near an earlier one.
    """

    near: int
    looked: int


Signature = npt.NDArray[np.uint64]


class NearRowIndex:
    """
    The rows of several files, by their wording.
    """

    def __init__(self, files: Mapping[str, Sequence[Tokens]]) -> None:
        """
        Args:
            files: Rows of each file, by a name of it.
        """
        grams = {name: [_grams(row) for row in rows] for name, rows in files.items()}
        common = np.unique(np.concatenate([_EMPTY, *(_common(g) for g in grams.values())]))
        self._signatures = {
            name: [_signature(row, common) for row in found] for name, found in grams.items()
        }
        self._buckets: dict[bytes, list[tuple[str, int]]] = {}
        for name, signatures in self._signatures.items():
            for i, signature in enumerate(signatures):
                for band in _bands(signature):
                    self._buckets.setdefault(band, []).append((name, i))

    def near(self, name: str, earlier: Collection[str]) -> NearRows:
        """
        Return how many rows of one file are near a row of *earlier* files.
        """
        ours = self._signatures[name]
        return NearRows(sum(self._is_near(row, set(earlier) - {name}) for row in ours), len(ours))

    def _is_near(self, signature: Signature, earlier: Collection[str]) -> bool:
        seen: set[tuple[str, int]] = set()
        for band in _bands(signature):
            for place in self._buckets[band]:
                if place in seen or place[0] not in earlier:
                    continue
                seen.add(place)
                if np.mean(self._signatures[place[0]][place[1]] == signature) >= NEAR:
                    return True
        return False


def _grams(tokens: Tokens) -> npt.NDArray[np.uint64]:
    """Return the hashes of three tokens in a row, each once; a short row is padded."""
    ids = np.asarray(tokens).astype(np.uint64) + np.uint64(1)
    if len(ids) < 3:
        ids = np.pad(ids, (0, 3 - len(ids)))
    found = np.zeros(len(ids) - 2, dtype=np.uint64)
    for n in range(3):
        found = (found ^ ids[n : len(ids) - 2 + n]) * _MULTIPLY
        found ^= found >> np.uint64(29)
    return np.unique(found)


def _common(grams: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Return what more than half of a file's rows have, if they are enough to tell."""
    if len(grams) < _ENOUGH:
        return _EMPTY
    values, counts = np.unique(np.concatenate(grams), return_counts=True)
    return values[counts > len(grams) / 2]


def _signature(grams: npt.NDArray[np.uint64], common: npt.NDArray[np.uint64]) -> Signature:
    """Return the smallest value of each hash over what is left of a row, or over all of it."""
    left = np.setdiff1d(grams, common, assume_unique=True)
    mixed = (left if len(left) else grams)[:, None] * _FACTORS[None, :]
    mixed ^= mixed >> np.uint64(32)
    smallest: Signature = mixed.min(axis=0)
    return smallest


def _bands(signature: Signature) -> list[bytes]:
    width = HASHES // _BANDS
    return [bytes([b]) + signature[b * width : (b + 1) * width].tobytes() for b in range(_BANDS)]
