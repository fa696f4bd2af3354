"""
A sample of the rows trained so far, to be mixed into later jobs: of each file equally many.

A bottom-k sketch (Cohen and Kaplan, PODC 2007) for each file: every row has a priority
that is a hash of the dataset, the row's number and the seed. First come the rows with the
smallest priority of each file, then those with the second smallest, and so on until the
reservoir is full: a file of few rows is kept whole. The reservoir of a union is then the
union's of the reservoirs: it needs no counter, depends on no order and counts no row twice.

Knows rows that a dataset calls training rows; does not know which jobs were
promoted, how much is replayed, or who writes the manifest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import orjson

from finetuned.core.replay_quota import water_level
from finetuned.errors import ModelError

ARRAYS: Final = "reservoir.safetensors"
IDS: Final = "reservoir_ids.json"

_DTYPES: Final = {
    "tokens": np.dtype(np.uint32),
    "offsets": np.dtype(np.int64),
    "supervised": np.dtype(np.uint8),
    "priorities": np.dtype(np.uint64),
}
_GAMMA: Final = 0x9E3779B97F4A7C15
_MASK: Final = 2**64 - 1

T = TypeVar("T")
Row = tuple[npt.NDArray[np.integer[Any]], npt.NDArray[Any]]


class Rows(Protocol):
    """
    What a reservoir takes rows from; store.TokenisedDataset is one.
    """

    dataset_id: str

    def __len__(self) -> int:
        """
        Return the number of training rows.
        """
        ...

    def __getitem__(self, i: int) -> Row:
        """
        Return token ids and mask of row *i*.
        """
        ...

    def example_id(self, i: int) -> str:
        """
        Return the id of the example that row *i* came from.
        """
        ...


def priorities(dataset_id: str, n: int, seed: int) -> npt.NDArray[np.uint64]:
    """
    Return the priority of every row of a dataset: splitmix64, one stream per dataset and seed.

    Args:
        dataset_id: At least 16 hex digits; the first 16 count.
        n: Rows, >= 0.
        seed: Any integer, the same for all datasets of one reservoir.

    Returns:
        Shape (n,), uniform over 64 bits; a row's priority does not depend on n.

    Raises:
        ValueError: *dataset_id* is not hexadecimal.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    first = np.array([seed & _MASK], dtype=np.uint64)
    start = _mixed(_mixed(first) ^ np.uint64(int(dataset_id[:16], 16)))
    return _mixed(start + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GAMMA))


def _mixed(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, slots=True, eq=False)
class Reservoir:
    """
    Rows in order of (priority, example id), at most one per example.

    Of a conversation that became several rows, the one with the smallest
    priority stands for it; so does a file that was trained twice count once.
    """

    tokens: npt.NDArray[np.uint32]
    """Token ids, one row after another, shape (T,)."""

    offsets: npt.NDArray[np.int64]
    """Row i is tokens[offsets[i]:offsets[i + 1]]; shape (rows + 1,)."""

    supervised: npt.NDArray[np.uint8]
    """0 or 1 for each token, shape (T,)."""

    priorities: npt.NDArray[np.uint64]
    """Priority of each row, ascending, shape (rows,)."""

    example_ids: list[str]

    @classmethod
    def empty(cls) -> Reservoir:
        """
        Return a reservoir without rows.
        """
        return cls._of([])

    @classmethod
    def _of(cls, rows: Iterable[tuple[int, str, Row]]) -> Reservoir:
        known = list(rows)
        lengths = [len(tokens) for _, _, (tokens, _) in known]
        return cls(
            tokens=_joined([row[0] for _, _, row in known], np.uint32),
            offsets=np.cumsum([0, *lengths], dtype=np.int64),
            supervised=_joined([row[1] for _, _, row in known], np.uint8),
            priorities=np.array([p for p, _, _ in known], dtype=np.uint64),
            example_ids=[name for _, name, _ in known],
        )

    def __len__(self) -> int:
        return len(self.example_ids)

    def __getitem__(self, i: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """
        Return token ids and mask of row *i*, shape (length,) each.
        """
        if not 0 <= i < len(self):
            raise IndexError(i)
        span = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        return self.tokens[span].astype(np.int64), self.supervised[span].astype(np.bool_)

    def example_id(self, i: int) -> str:
        """
        Return the id of the example that row *i* came from.
        """
        return self.example_ids[i]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length in tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    @property
    def supervised_counts(self) -> npt.NDArray[np.int64]:
        """Tokens with loss in each row, shape (rows,)."""
        sums = np.concatenate([[0], np.cumsum(self.supervised, dtype=np.int64)])
        return np.diff(sums[self.offsets])

    @property
    def flat(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Tokens and mask of all rows, and where each row begins."""
        return self.tokens, self.supervised, self.offsets[:-1]

    def picked(self, numbers: npt.NDArray[np.int64]) -> Reservoir:
        """
        Return the reservoir of these rows alone, in its own order.
        """
        return Reservoir._of(
            (int(self.priorities[i]), self.example_ids[i], self[i])
            for i in sorted(numbers.tolist())
        )

    def merged(self, other: Reservoir, capacity: int) -> Reservoir:
        """
        Return the reservoir of the rows of both.

        Args:
            other: Made with the same seed.
            capacity: The most rows kept, >= 0; never raised from one merge to the
                next, or rows that were dropped are missed.
        """
        sources = (self, other)
        found = [
            (int(p), name, source, i)
            for source in sources
            for i, (p, name) in enumerate(zip(source.priorities, source.example_ids, strict=True))
        ]
        kept = _smallest([(p, name, (source, i)) for p, name, source, i in found], capacity)
        return Reservoir._of((p, name, source[i]) for p, name, (source, i) in kept)

    def with_dataset(
        self,
        dataset: Rows,
        *,
        capacity: int,
        seed: int,
        seen: npt.NDArray[np.bool_] | None = None,
    ) -> Reservoir:
        """
        Return the reservoir of these rows and those of *dataset* that were trained.

        Only rows that may be kept are read, *capacity* of them or little more.

        Args:
            dataset: Training rows only, without held-out rows.
            capacity: As in merged.
            seed: As in priorities; the same for the life of the reservoir.
            seen: For each row of *dataset*, whether it was trained; None if all were.
        """
        if capacity <= 0:
            return Reservoir.empty()
        ranks = priorities(dataset.dataset_id, len(dataset), seed)
        may = np.arange(len(ranks)) if seen is None else np.flatnonzero(seen)
        # What there is room for of this file, at most one more than of each other large one.
        others = Counter(map(file_of, self.example_ids))
        own = others.pop(dataset.dataset_id, 0) + len(may)
        room = min(capacity, 1 + water_level([*others.values(), own], capacity))
        taken = min(room, len(may))
        while True:
            chosen = may
            if taken < len(may):
                chosen = may[np.argpartition(ranks[may], taken - 1)[:taken]]
            named = [(int(ranks[i]), dataset.example_id(int(i)), int(i)) for i in chosen]
            kept = _smallest(named, room)
            if len(kept) == room or taken == len(may):
                break
            taken = min(2 * taken, len(may))  # several rows of one example: look further
        return self.merged(Reservoir._of((p, name, dataset[i]) for p, name, i in kept), capacity)

    def save(self, folder: Path) -> None:
        """
        Write the reservoir into *folder*; the caller writes the manifest and syncs.

        Raises:
            OSError: The disk refused; the caller must remove the folder.
        """
        from safetensors.numpy import save_file

        save_file({name: getattr(self, name) for name in _DTYPES}, folder / ARRAYS)
        (folder / IDS).write_bytes(orjson.dumps(self.example_ids))

    @classmethod
    def load(cls, folder: Path) -> Reservoir:
        """
        Read the reservoir in *folder*.

        Raises:
            ModelError: A file is missing or damaged, or they do not fit together.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(folder / ARRAYS)
            ids = orjson.loads((folder / IDS).read_bytes())
        except (FileNotFoundError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"{folder}: not a reservoir: {error}") from None
        if {k: (v.dtype, v.ndim) for k, v in arrays.items()} != {
            k: (dtype, 1) for k, dtype in _DTYPES.items()
        }:
            raise ModelError(f"{folder / ARRAYS}: not the arrays of a reservoir")
        if not (isinstance(ids, list) and all(isinstance(name, str) for name in ids)):
            raise ModelError(f"{folder / IDS}: not a list of example ids")
        reservoir = cls(**arrays, example_ids=ids)
        if complaint := reservoir._complaint():
            raise ModelError(f"{folder}: {complaint}")
        return reservoir

    def _complaint(self) -> str | None:
        n, n_tokens = len(self.example_ids), len(self.tokens)
        if len(self.priorities) != n or len(self.offsets) != n + 1:
            return f"{n} ids, {len(self.priorities)} priorities, {len(self.offsets)} offsets"
        if self.offsets[0] != 0 or self.offsets[-1] != n_tokens or (self.lengths < 1).any():
            return f"offsets do not cut {n_tokens} tokens into rows"
        if len(self.supervised) != n_tokens or (self.supervised > 1).any():
            return "the mask does not fit the tokens"
        places = list(zip(self.priorities.tolist(), self.example_ids, strict=True))
        if places != sorted(places) or len(set(self.example_ids)) != n:
            return "rows out of order or twice"
        return None


def file_of(example_id: str) -> str:
    """
    Return the id of the dataset that an example came from.
    """
    return example_id.rpartition(":")[0]


def _joined(arrays: list[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(np.asarray(a).astype(dtype) for a in arrays)])


def _smallest(rows: list[tuple[int, str, T]], capacity: int) -> list[tuple[int, str, T]]:
    """
    Return *capacity* examples at most, in order: the first of each file, then the second, ...

    Of the last turn, for which there is not room for all files, the smallest priorities.
    """
    turns: list[list[tuple[int, str, T]]] = []
    examples, of_file = set[str](), Counter[str]()
    for row in sorted(rows, key=lambda row: row[:2]):
        if row[1] in examples:
            continue
        examples.add(row[1])
        file = file_of(row[1])
        if of_file[file] == len(turns):
            turns.append([])
        turns[of_file[file]].append(row)
        of_file[file] += 1
    return sorted(islice(chain.from_iterable(turns), capacity), key=lambda row: row[:2])
