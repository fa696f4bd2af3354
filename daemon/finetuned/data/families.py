"""
Which files are of one kind: told from the tokens of some of their rows, before any training.

Two files are of one kind if their rows are hardly less alike across the files than within
each: a file and the next day's of the same source are, and so are two that differ in names
and numbers alone; commands for users and commands for shares are not. What is compared is how
often tokens, and two and three that follow one another, occur: in what is asked and in what
is answered, each for itself. Two histograms p and q are alike by sum(min(p, q)), 0 to 1.

Pure. Does not know files or what is rehearsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Row = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[Any]]
"""Token ids and whether each is supervised."""

MIN_ROWS: Final = 16
"""Of fewer rows nothing can be told: such files are one family together."""

MAX_ROWS: Final = 128
"""As many rows of a file are looked at."""

MAX_FILES: Final = 256
"""As many files are compared, those of which most rows are known; the rest are one family."""

ALIKE: Final = 0.9
"""
Two files are of one kind if rows across them are at least this many times as alike as within.
Measured for the six tasks of experiments/replay_tasks.py: at least 0.94 for parts of 48 rows
of one file, 0.82 for parts of 24 (5% of them are below 0.92), at most 0.67 for unlike tasks.
"""

_BINS: Final = 2048
_LONGEST: Final = 3
"""As many tokens in a row are counted."""

_FACTORS: Final = np.array(
    [0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64
)
"""Of splitmix64."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """
    What is known of a file.
    """

    halves: npt.NDArray[np.float32]
    """Shape (2 halves of the rows, asked and answered, bins): shares, each histogram sums to 1."""

    n_rows: int


def look(rows: Sequence[Row]) -> Look:
    """
    Return how often tokens occur in *rows*, the first MAX_ROWS of them: one, two, three in a row.
    """
    seen = rows[:MAX_ROWS]
    halves = np.zeros((2, 2, _BINS), dtype=np.float32)
    for i, (tokens, supervised) in enumerate(seen):
        ids, answered = np.asarray(tokens).astype(np.uint64), np.asarray(supervised) > 0
        for part, chosen in enumerate((ids[~answered], ids[answered])):
            keys = np.zeros_like(chosen)
            for n in range(_LONGEST):
                last = chosen[n:]
                keys = keys[: len(last)] * _FACTORS[0] + last * _FACTORS[1] + np.uint64(1)
                mixed = (keys ^ (keys >> np.uint64(29))) * _FACTORS[2] >> np.uint64(40)
                bins = (mixed % np.uint64(_BINS)).astype(np.int64)
                halves[i % 2, part] += np.bincount(bins, minlength=_BINS)
    sums = halves.sum(axis=2, keepdims=True)
    return Look(np.divide(halves, sums, out=np.zeros_like(halves), where=sums > 0), len(seen))


def likeness(a: Look, b: Look) -> float:
    """
    Return how alike rows across *a* and *b* are, times as alike as within the less even one.
    """
    within = np.minimum(_alike(*a.halves), _alike(*b.halves))
    across = np.mean([_alike(p, q) for p in a.halves for q in b.halves], axis=0)
    return float((across / np.maximum(within, 1e-9)).min())


def _alike(p: npt.NDArray[np.float32], q: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    shared: npt.NDArray[np.float32] = np.minimum(p, q).sum(axis=1)
    return shared


def of_one_kind(a: Look, b: Look) -> bool:
    """
    Return whether two files are of one kind; False if one has too few rows to tell.
    """
    return min(a.n_rows, b.n_rows) >= MIN_ROWS and likeness(a, b) >= ALIKE


def families(looks: Mapping[str, Look]) -> list[list[str]]:
    """
    Return the files of each family, the one that stands for it first.

    Args:
        looks: By the file's name, which breaks ties.

    Returns:
        Every file once. A file joins the first family whose first file it is like.
    """
    order = sorted(looks, key=lambda name: (-looks[name].n_rows, name))
    told = [name for name in order if looks[name].n_rows >= MIN_ROWS][:MAX_FILES]
    found: list[list[str]] = []
    for name in told:
        for family in found:
            if of_one_kind(looks[family[0]], looks[name]):
                family.append(name)
                break
        else:
            found.append([name])
    rest = order[len(told) :]
    return [*found, rest] if rest else found
