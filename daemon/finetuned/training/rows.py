"""
The tokenised datasets of one job as one numbered list.

Example numbers run over the datasets in the order of the job; the plan counts
in them. Does not know batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from finetuned.data.store import TokenisedDataset

Row = tuple[Sequence[int], Sequence[bool]]


class JobRows(Dataset[Row]):
    """
    All training sequences of a job.
    """

    def __init__(self, folders: Sequence[Path], names: Sequence[str]) -> None:
        """
        Args:
            folders: Dataset folders, in training order.
            names: The dropped file's name of each, for people.
        """
        self.datasets = [TokenisedDataset.open(folder) for folder in folders]
        self.names = list(names)
        self.lengths: npt.NDArray[np.int64] = np.concatenate([d.lengths for d in self.datasets])
        """Tokens of every example, shape (N,)."""
        self._starts = np.cumsum([0, *(len(d) for d in self.datasets)]).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def locate(self, number: int) -> tuple[int, int]:
        """
        Return ``(dataset index, sequence index in it)`` of example *number*.
        """
        index = bisect_right(self._starts, number) - 1
        return index, number - self._starts[index]

    def __getitem__(self, number: int) -> Row:
        index, inner = self.locate(number)
        ids, supervised = self.datasets[index][inner]
        return ids, supervised  # type: ignore[return-value]  # arrays; pad_batch takes both

    def example_id(self, number: int) -> str:
        """
        Return ``<dataset_id>:<line>`` of example *number*.
        """
        index, inner = self.locate(number)
        return self.datasets[index].example_id(inner)

    def name_of(self, number: int) -> str:
        """
        Return the dropped file's name that example *number* came from.
        """
        return self.names[self.locate(number)[0]]
