"""
The rows of one job as one numbered list, and their plan.

Example numbers run over the datasets in the order of the job, then over the rows that
are replayed from earlier jobs; the plan is made of these numbers. Does not know batches
or models.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from finetuned.config import TrainingConfig
from finetuned.core.line_set import LineSet
from finetuned.data.plan import Plan, plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes, first_supervised
from finetuned.data.replay import Reservoir
from finetuned.data.store import TokenisedDataset

if TYPE_CHECKING:
    from finetuned.loss.micro_batch import MaskedTokens  # loads torch


@dataclass(frozen=True, slots=True)
class StepRows:
    """
    Which rows of the plan one optimizer step trained.
    """

    examples: list[str]
    """``<dataset_id>:<line>`` of each new row."""
    replayed: list[str]
    """The same of each row that is replayed from earlier jobs."""
    current_file: str
    """Name of the dropped file of the first row."""
    tokens: int
    """Tokens of all rows, without padding."""
    epoch: int
    """Epoch of the step, from 0."""


class JobRows:
    """
    All training sequences of a job, then the replayed ones.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        names: Sequence[str],
        replay: Reservoir | None = None,
        lines: Sequence[LineSet | None] = (),
        replay_groups: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """
        Args:
            folders: Dataset folders, in training order.
            names: Name of the dropped file of each, as people know it.
            replay: Rows of earlier jobs, each trained once along with the new ones.
            lines: For each dataset the lines to train of it, None for all; empty is all of all.
            replay_groups: Of each row of *replay*; each group is spread evenly over the job.
                None for one group.
        """
        self.datasets = [TokenisedDataset.open(folder) for folder in folders]
        self.names = list(names)
        self.replay = Reservoir.empty() if replay is None else replay
        self._replay_groups = replay_groups
        self._parts: list[TokenisedDataset | Reservoir] = [*self.datasets, self.replay]
        self.lengths: npt.NDArray[np.int64] = np.concatenate([p.lengths for p in self._parts])
        """Tokens of every example, shape (N,)."""
        self._starts = np.cumsum([0, *(len(p) for p in self._parts)]).tolist()
        self.chosen = self._chosen(lines or [None] * len(self.datasets))
        """Numbers of the job's own examples to train, ascending."""

    def _chosen(self, lines: Sequence[LineSet | None]) -> npt.NDArray[np.int64]:
        kept = [
            np.arange(len(dataset))
            if wanted is None
            else np.flatnonzero(np.isin(dataset.lines, wanted.lines()))
            for dataset, wanted in zip(self.datasets, lines, strict=True)
        ]
        return np.concatenate(
            [np.empty(0, np.int64), *(k + s for k, s in zip(kept, self._starts, strict=False))]
        )

    @property
    def n_supervised(self) -> int:
        """Tokens with loss in the job's own examples to train."""
        counts = [dataset.supervised_counts for dataset in self.datasets]
        return int(np.concatenate([np.empty(0, np.int64), *counts])[self.chosen].sum())

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

    def __getitem__(self, number: int) -> MaskedTokens:
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
        Return the name of the dropped file of example *number*, "(replay)" for a replayed one.
        """
        index, _ = self.locate(number)
        return self.names[index] if index < len(self.names) else "(replay)"

    def of_step(self, plan: Plan, job_step: int, *, epochs: int) -> StepRows:
        """
        Return the rows of one optimizer step.

        Args:
            plan: Plan of the job.
            job_step: 1 to len(plan).
            epochs: Epochs of the plan, >= 1.
        """
        numbers = plan.numbers(job_step - 1)
        return StepRows(
            examples=[self.example_id(n) for n in numbers if n < self.n_new],
            replayed=[self.example_id(n) for n in numbers if n >= self.n_new],
            current_file=self.name_of(numbers[0]),
            tokens=int(self.lengths[numbers].sum()),
            epoch=(job_step - 1) * epochs // len(plan),
        )

    def plan(self, config: TrainingConfig, *, seed: int, world: int) -> Plan:
        """
        Plan the whole job.

        Args:
            config: Batch sizes and epochs.
            seed: Seed of the job; the same seed gives the same plan.
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
            replay_groups=self._replay_groups,
            chosen=self.chosen,
        )
