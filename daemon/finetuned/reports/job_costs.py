"""
The runs of the journal and what they used, as costs by job and by kind of run.

Pure: rows of the journal in, costs out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finetuned.core.cost import Cost, Prices, RunUse, cost_of, total
from finetuned.core.run import RunKind, RunOutcome
from finetuned.files.rows import RunRow, UsageRow


@dataclass(frozen=True, slots=True)
class JobCosts:
    """
    Costs of all runs, told apart.
    """

    by_job: Mapping[str, Mapping[RunKind, Cost]] = field(default_factory=dict)
    """Of a job's trainings (with those that were killed) and evaluations."""
    beside: Mapping[RunKind, Cost] = field(default_factory=dict)
    """Of runs that belong to no job: validations and watches."""

    def of(self, job_id: str) -> Cost:
        """
        Return the cost of all runs of a job.
        """
        return total(self.by_job.get(job_id, {}).values())

    @property
    def all(self) -> Cost:
        """The cost of every run."""
        jobs = [cost for kinds in self.by_job.values() for cost in kinds.values()]
        return total([*jobs, *self.beside.values()])


def job_costs(runs: Sequence[RunRow], usage: Mapping[str, UsageRow], prices: Prices) -> JobCosts:
    """
    Return what *runs* cost; *usage* by run, without those that were not measured.
    """
    by_job: dict[str, dict[RunKind, Cost]] = {}
    beside: dict[RunKind, Cost] = {}
    for run in runs:
        cost = cost_of(use_of(run, usage.get(run.id)), prices)
        found = beside if run.job_id is None else by_job.setdefault(run.job_id, {})
        found[run.kind] = found.get(run.kind, Cost()) + cost
    return JobCosts(by_job, beside)


def use_of(run: RunRow, usage: UsageRow | None) -> RunUse:
    """
    Return what one run used.

    Its wall time is from its start to its end. The end of a run whose daemon ended before it is
    written down at the next start, perhaps days later: of such a run the time that was
    measured counts.
    """
    seconds = None if usage is None else usage.seconds
    if run.ended_at is not None and run.outcome is not RunOutcome.LOST:
        seconds = _seconds_between(run.started_at, run.ended_at) or seconds
    if usage is None:
        return RunUse(seconds=seconds)
    return RunUse(
        seconds=seconds,
        cpu_seconds=usage.cpu_seconds,
        cpu_joules=usage.cpu_joules,
        gpu_joules=usage.gpu_joules,
        gpus=usage.gpus,
    )


def _seconds_between(start: str, end: str) -> float | None:
    """Return the seconds between two times; None if one cannot be read, or the clock went back."""
    try:
        seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None
