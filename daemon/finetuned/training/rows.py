"""
The rows of one job as one numbered list, and their plan.

Example numbers run over the datasets in the order of the job, then over the rows
replayed from earlier jobs; the plan counts in them. Does not know batches.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from finetuned.config import TrainingConfig
from finetuned.data.plan import Plan, plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes, first_supervised
from finetuned.data.replay import Reservoir
from finetuned.data.store import TokenisedDataset

Row = tuple[Sequence[int], Sequence[bool]]


class JobRows:
    """
    All training sequences of a job, then the replayed ones.
    """

    def __init__(
        self, folders: Sequence[Path], names: Sequence[str], replay: Reservoir | None = None
    ) -> None:
        """
        Args:
            folders: Dataset folders, in training order.
            names: The dropped file's name of each, for people.
            replay: Rows of earlier jobs that are trained along; every one of them once.
        """
        self.datasets = [TokenisedDataset.open(folder) for folder in folders]
        self.names = list(names)
        self.replay = Reservoir.empty() if replay is None else replay
        self._parts: list[TokenisedDataset | Reservoir] = [*self.datasets, self.replay]
        self.lengths: npt.NDArray[np.int64] = np.concatenate([p.lengths for p in self._parts])
        """Tokens of every example, shape (N,)."""
        self._starts = np.cumsum([0, *(len(p) for p in self._parts)]).tolist()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def n_new(self) -> int:
        """Examples of the job's own datasets; numbers from here on are replayed."""
        return int(self._starts[-2])

    def locate(self, number: int) -> tuple[int, int]:
        """
        Return ``(part, sequence in it)`` of example *number*; the last part is the replay.
        """
        index = bisect_right(self._starts, number) - 1
        return index, number - self._starts[index]

    def __getitem__(self, number: int) -> Row:
        index, inner = self.locate(number)
        ids, supervised = self._parts[index][inner]
        return ids, supervised  # type: ignore[return-value]  # arrays are sequences enough

    def example_id(self, number: int) -> str:
        """
        Return ``<dataset_id>:<line>`` of example *number*.
        """
        index, inner = self.locate(number)
        return self._parts[index].example_id(inner)

    def name_of(self, number: int) -> str:
        """
        Return the dropped file's name that example *number* came from.
        """
        index, _ = self.locate(number)
        return self.names[index] if index < len(self.names) else "(replay)"

    def plan(self, config: TrainingConfig, *, seed: int, world: int) -> Plan:
        """
        Plan the whole job.

        Args:
            config: Batch sizes and epochs.
            seed: Of the job; same seed, same plan.
            world: Processes that share each step, >= 1.

        Raises:
            ValueError: There is no new example.
        """
        flat = [part.flat for part in self._parts]
        limits = np.concatenate(
            [
                first_supervised(flags, offsets, part.lengths)
                for part, (_, flags, offsets) in zip(self._parts, flat, strict=True)
            ]
        )
        prefixes = find_prefixes(
            block_reader([(tokens, offsets) for tokens, _, offsets in flat]),
            np.maximum(limits - 1, 0),
            rows_per_batch=config.per_device_train_batch_size,
        )
        rows_per_step = config.per_device_train_batch_size * config.gradient_accumulation_steps
        return plan_batches(
            self.lengths,
            class_of=prefixes.class_of,
            prefix_lengths=prefixes.lengths,
            rows_per_step=rows_per_step * world,
            max_rows=config.per_device_train_batch_size,
            epochs=config.num_train_epochs,
            seed=seed,
            n_replay=len(self.replay),
        )
