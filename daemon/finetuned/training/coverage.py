"""
What the optimizer steps of a job trained of each of its datasets, and which rows were in none.

A job may end before its first pass is over, by early stopping, and a step is left out if its
loss or gradient is not finite. Does not know models or files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from finetuned.core.line_set import LineSet
from finetuned.data.plan import Plan
from finetuned.training.rows import JobRows

STOPPED_EARLY = "the training stopped early, before a step had them"
LEFT_OUT = "each step that had them was left out: its loss or gradient was not finite"
BOTH = "the training stopped early, or left out the steps that had them"


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    What was trained of one dataset.
    """

    n_examples: int
    """Sequences, repeats counted."""
    n_supervised_tokens: int
    """Of those."""
    seen: npt.NDArray[np.bool_]
    """For each training sequence of the dataset, whether a step of this job trained it."""
    unseen: LineSet
    """Lines with a row to train of which no sequence was in a step of this job."""
    unseen_because: str | None
    """Why, of those that the job was to train; None if there is none."""


def coverage(
    rows: JobRows, plan: Plan, *, job_steps: int, left_out: Collection[int]
) -> list[Coverage]:
    """
    Return what was trained of each dataset of a job, in its order.

    Args:
        rows: Of the job.
        plan: Its plan.
        job_steps: Optimizer steps that were made, 1 to len(plan).
        left_out: Those of them that changed nothing, counted from 1.
    """
    trained = np.zeros(len(plan.order), dtype=np.bool_)
    trained[: plan.step_starts[job_steps]] = True
    for step in left_out:
        trained[plan.step_starts[step - 1] : plan.step_starts[step]] = False
    times = np.bincount(plan.order[trained], minlength=len(rows))
    made = np.bincount(plan.order[: plan.step_starts[job_steps]], minlength=len(rows))
    wanted = np.zeros(len(rows), dtype=np.bool_)
    wanted[rows.chosen] = True
    found, start = [], 0
    for dataset in rows.datasets:
        part = slice(start, start + len(dataset))
        start += len(dataset)
        missed = _lines_without(times[part], dataset.lines)
        missed_of_job = missed[np.isin(missed, dataset.lines[wanted[part]])]
        in_no_step = _lines_without(made[part], dataset.lines)
        found.append(
            Coverage(
                n_examples=int(times[part].sum()),
                n_supervised_tokens=int((times[part] * dataset.supervised_counts).sum()),
                seen=times[part] > 0,
                unseen=LineSet.of(missed.tolist()),
                unseen_because=_why(missed_of_job, in_no_step),
            )
        )
    return found


def _lines_without(
    times: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the lines of which every sequence was trained 0 times, ascending."""
    return np.setdiff1d(lines, lines[times > 0])


def _why(missed: npt.NDArray[np.int64], in_no_step: npt.NDArray[np.int64]) -> str | None:
    if not len(missed):
        return None
    stopped = np.isin(missed, in_no_step)
    if stopped.all():
        return STOPPED_EARLY
    return BOTH if stopped.any() else LEFT_OUT
