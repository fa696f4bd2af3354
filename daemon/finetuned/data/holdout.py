"""
The prompts of a dataset that are kept out of training, for evaluation.

A prompt is its 64-bit hash (examples.prompt_hash). It is on one side for good:
what an earlier dataset trained is never held out, what an earlier dataset held
out is never trained. The same holds for a family (row_family.py): no child is ever
held out, and one is trained only if both its prompt and its family may be. Memory does
not grow with the number of rows: hashes are sorted a range at a time, and those of large
earlier datasets stay on disk.

Pure numpy; does not know examples or the files of a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

TRAIN: Final = 0
HELD_OUT: Final = 1
"""Asked at evaluation."""
RESERVED: Final = 2
"""Neither trained nor asked: an earlier dataset holds the prompt out, and max_rows is reached."""

_IN_MEMORY: Final = 1 << 20
"""Arrays below this many hashes (8 MiB) are read and merged, larger ones are mapped."""

_RANGE_ROWS: Final = 1 << 21
"""About as many hashes are sorted at once, 16 MiB."""


class PromptIndex:
    """
    A set of 64-bit hashes, as few sorted arrays.
    """

    def __init__(self) -> None:
        self._arrays: list[Hashes] = []

    def copy(self) -> PromptIndex:
        """
        Return a set of the same hashes, to which others can be added.
        """
        other = PromptIndex()
        other._arrays = list(self._arrays)
        return other

    def add(self, hashes: Hashes) -> None:
        """
        Add sorted, distinct *hashes*; the array is kept, not copied, while it is large.
        """
        if not len(hashes):
            return
        # Merging equals keeps the number of arrays logarithmic, so that 20,000
        # small datasets cost 20,000 small merges and not 20,000 searches each.
        while self._arrays and len(self._arrays[-1]) <= 2 * len(hashes) < 2 * _IN_MEMORY:
            hashes = np.union1d(self._arrays.pop(), hashes)
        self._arrays.append(hashes)

    def add_file(self, path: Path) -> None:
        """
        Add the hashes of a file that ``write_hashes`` wrote; a missing one holds none.
        """
        try:
            n = path.stat().st_size // 8
        except FileNotFoundError:
            return
        if n >= _IN_MEMORY:
            self.add(np.memmap(path, dtype="<u8", mode="r"))
        else:
            self.add(np.fromfile(path, dtype="<u8"))

    def contains(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """
        Return, for each of *hashes*, whether it is in the set.
        """
        found = np.zeros(len(hashes), dtype=np.bool_)
        for array in self._arrays:
            at = np.searchsorted(array, hashes)
            at[at == len(array)] = 0
            found |= array[at] == hashes
        return found


def write_hashes(path: Path, parts: Iterable[Hashes]) -> int:
    """
    Write ascending parts of one sorted set to a file of little-endian 64-bit integers.

    Returns:
        How many there are.
    """
    n = 0
    with path.open("wb") as f:
        for part in parts:
            f.write(part.astype("<u8", copy=False).tobytes())
            n += len(part)
    return n


def distinct(
    chunks: Callable[[], Iterable[Hashes]], n_rows: int
) -> Iterator[tuple[Hashes, npt.NDArray[np.int64]]]:
    """
    Yield the distinct hashes in ascending parts, each with its number of rows.

    Args:
        chunks: Gives all hashes in any order; called once per range of values.
        n_rows: How many hashes there are in all.
    """
    n_ranges = max(1, -(-n_rows // _RANGE_ROWS))
    bounds = [i * 2**64 // n_ranges for i in range(n_ranges + 1)]
    for low, high in pairwise(bounds):
        parts = [np.empty(0, dtype=np.uint64)]
        numbers = [np.empty(0, dtype=np.int64)]
        for chunk in chunks():
            if n_ranges > 1:
                chunk = chunk[(chunk >= np.uint64(low)) & (chunk <= np.uint64(high - 1))]
            # Counted per chunk already, so that one prompt on every row costs no memory.
            unique, counts = np.unique(chunk, return_counts=True)
            parts.append(unique)
            numbers.append(counts)
        unique, where = np.unique(np.concatenate(parts), return_inverse=True)
        totals = np.zeros(len(unique), dtype=np.int64)
        np.add.at(totals, where, np.concatenate(numbers))
        yield unique, totals


@dataclass(frozen=True, slots=True)
class Holdout:
    """
    The decision for one dataset.
    """

    held_out: Hashes
    """Prompts to ask at evaluation, sorted."""

    earlier: PromptIndex
    """Prompts that earlier datasets hold out."""

    n_prompts: int
    """Distinct prompts in the dataset, those of children aside."""

    reason: str | None
    """Why nothing was held out, or None."""

    def split(self, hashes: Hashes, families: Hashes | None = None) -> npt.NDArray[np.uint8]:
        """
        Return TRAIN, HELD_OUT or RESERVED for each prompt hash.

        Args:
            hashes: Of prompts.
            families: Of the same rows; None if none of them is a child. A child is RESERVED
                unless it is trained.
        """
        split = np.where(self.earlier.contains(hashes), np.uint8(RESERVED), np.uint8(TRAIN))
        split[np.isin(hashes, self.held_out)] = HELD_OUT
        if families is not None and (child := families != hashes).any():
            trained = (split[child] == TRAIN) & (self.split(families[child]) == TRAIN)
            split[child] = np.where(trained, np.uint8(TRAIN), np.uint8(RESERVED))
        return split


def choose_holdout(
    chunks: Callable[[], Iterable[Hashes]],
    n_rows: int,
    *,
    fraction: float,
    min_rows: int,
    max_rows: int,
    trained: PromptIndex,
    held_out: PromptIndex,
) -> Holdout:
    """
    Choose the prompts to hold out: those of lowest hash, so the choice is repeatable.

    Prompts that are held out already take the room first. A prompt whose rows
    do not all fit is passed over; if none fits, the one with the fewest
    rows is taken, unless that is more than half of the dataset. At least one
    prompt is left to train.

    Args:
        chunks: Gives the prompt hash of every row that is no child, in any order; called
            several times.
        n_rows: How many such rows there are.
        fraction: Share of rows to hold out, 0 to 0.5; above 0 means at least one row.
        min_rows: Least rows to hold out, but at most a fifth of all; >= 1.
        max_rows: Most rows to hold out.
        trained: Prompts that earlier datasets trained.
        held_out: Prompts that earlier datasets hold out.
    """
    wanted = max(round(fraction * n_rows), min(min_rows, n_rows // 5), 1)
    room = min(wanted, max_rows) if fraction > 0 else 0
    chosen: list[Hashes] = []
    n_prompts = n_free = 0  # free: held out by nobody yet
    for unique, counts in distinct(chunks, n_rows):
        taken = held_out.contains(unique)
        n_prompts += len(unique)
        n_free += int(np.count_nonzero(~taken))
        picked, room = _pick(unique[taken], counts[taken], room, len(unique))
        chosen.append(picked)
    smallest: tuple[int, int] | None = None
    n_new = 0
    n_candidates = 0
    if room > 0 and n_free > 1:
        for unique, counts in distinct(chunks, n_rows):
            new = ~(held_out.contains(unique) | trained.contains(unique))
            n_candidates += int(np.count_nonzero(new))
            picked, room = _pick(unique[new], counts[new], room, n_free - 1 - n_new)
            chosen.append(picked)
            n_new += len(picked)
            if new.any():
                least = int(np.argmin(counts[new]))
                entry = (int(counts[new][least]), int(unique[new][least]))
                smallest = entry if smallest is None else min(smallest, entry)
        nothing = not any(len(c) for c in chosen)
        if nothing and smallest is not None and smallest[0] <= min(n_rows // 2, max_rows):
            chosen.append(np.array([smallest[1]], dtype=np.uint64))
    result = np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.uint64)
    reason = None
    if not len(result):
        reason = _why_nothing(fraction, n_prompts, n_free, n_candidates)
    return Holdout(result, held_out, n_prompts, reason)


def _pick(
    unique: Hashes, counts: npt.NDArray[np.int64], room: int, most: int
) -> tuple[Hashes, int]:
    """
    Take prompts in order while their rows fit into *room*, and return the room left.
    """
    taken: list[int] = []
    # Only prompts that fit at all are looked at: the room is at most max_rows,
    # so this ends after at most that many takes.
    for i in np.flatnonzero(counts <= room):
        if room == 0 or len(taken) >= most:
            break
        if counts[i] <= room:
            taken.append(int(i))
            room -= int(counts[i])
    return unique[taken], room


def _why_nothing(fraction: float, n_prompts: int, n_free: int, n_candidates: int) -> str:
    if fraction <= 0:
        return "data.holdout_fraction is 0"
    if n_prompts == 0:
        return "every row was made of another one (metadata.augmentation)"
    if n_prompts <= 1:
        return "there is only one distinct prompt, and it is trained"
    if n_free <= 1:
        return "earlier datasets hold out all prompts but one, and it is trained"
    if n_candidates == 0:
        return "earlier datasets have trained every prompt of this one"
    return "each prompt has too many rows to be held out"
