"""
What was recorded of one training, read from its run folders as curves.

A line that was cut, or that says nothing this program knows, is left out. Of several runs of
one job the last one counts at each step, as a resumed run repeats steps after a checkpoint.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from finetuned.config import Config
from finetuned.core.curves.finding import JobCurves
from finetuned.core.curves.looks import Answer, paired
from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import MIN_POINTS
from finetuned.core.job import JobKind
from finetuned.core.run import RunKind
from finetuned.errors import ConfigError, RegistryError
from finetuned.files.heartbeat import HEARTBEAT
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import JobRow
from finetuned.files.run import EVALS, HELD_OUT, METRICS, each_metric, read_json
from finetuned.layout import Layout

Points = dict[int, float]


@dataclass(slots=True)
class Records:
    """
    Lines of metrics.jsonl, evals.jsonl and held_out.jsonl, collected by step.
    """

    train: defaultdict[str, Points] = field(default_factory=lambda: defaultdict(dict))
    """By key of metrics.jsonl."""
    looks: defaultdict[str, Points] = field(default_factory=lambda: defaultdict(dict))
    """By key of evals.jsonl, and ``accuracy``."""
    fixed: Points = field(default_factory=dict)
    """Held-out loss on the same rows each time."""
    answers: dict[tuple[int, str], float] = field(default_factory=dict)
    """(step, question) -> loss."""
    skipped: set[int] = field(default_factory=set)

    def add_run(self, folder: Path) -> None:
        """
        Add what a run wrote; a file that it did not write adds nothing.

        Raises:
            OSError: A file is there and cannot be read.
        """
        for record in each_metric(folder, METRICS):
            self.add_step(record)
        for record in each_metric(folder, EVALS):
            self._add_look(record)
        for record in each_metric(folder, HELD_OUT):
            _note(self.fixed, record.get("step"), record.get("loss"))

    def add_step(self, record: Mapping[str, object]) -> None:
        """
        Add one optimizer step, as a line of metrics.jsonl.
        """
        step = record.get("step")
        for key in ("loss", "grad_norm", "learning_rate"):
            _note(self.train[key], step, record.get(key))
        seconds, tokens = record.get("seconds"), record.get("tokens")
        if _is_number(seconds) and _is_number(tokens) and seconds > 0:
            _note(self.train["speed"], step, tokens / seconds)
        if isinstance(step, int):
            self.skipped.discard(step)
            if record.get("skipped") is True:
                self.skipped.add(step)
                self.train["loss"].pop(step, None)

    def _add_look(self, record: Mapping[str, object]) -> None:
        step = record.get("step")
        _note(self.looks["loss"], step, record.get("loss"))
        _note(self.looks["kl"], step, record.get("kl"))
        answers = record.get("answers")
        if not isinstance(step, int) or not isinstance(answers, list):
            return  # written before answers were kept
        marks = []
        for answer in answers:
            if not isinstance(answer, dict):
                continue
            if isinstance(answer.get("matches"), bool):
                marks.append(answer["matches"])
            if isinstance(answer.get("id"), str) and _is_number(answer.get("loss")):
                self.answers[step, answer["id"]] = answer["loss"]
        if marks:
            self.looks["accuracy"][step] = sum(marks) / len(marks)

    def held_out(self) -> tuple[Series, bool]:
        """
        Return the best held-out curve there is, and whether all its values are of the same rows.
        """
        fixed = Series.of(self.fixed)
        if len(fixed) >= MIN_POINTS:
            return fixed, True
        pairs = paired(Answer(s, q, loss) for (s, q), loss in self.answers.items())
        plain = Series.of(self.looks["loss"])
        best = max((pairs, plain), key=len)
        return (fixed, True) if len(fixed) >= len(best) > 0 else (best, False)

    def curves(
        self,
        *,
        held_out_rows: int | None = None,
        planned_steps: int | None = None,
        config: Config | None = None,
    ) -> JobCurves:
        """
        Return the curves.

        Args:
            held_out_rows, planned_steps: As in JobCurves.
            config: Of the job; None if it is not known, and the defaults are taken.
        """
        known = config or Config()
        held_out, fixed = self.held_out()
        return JobCurves(
            loss=Series.of(self.train["loss"]),
            held_out=held_out,
            held_out_fixed=fixed,
            accuracy=Series.of(self.looks["accuracy"]),
            grad_norm=Series.of(self.train["grad_norm"]),
            learning_rate=Series.of(self.train["learning_rate"]),
            kl=Series.of(self.looks["kl"]),
            tokens_per_second=Series.of(self.train["speed"]),
            skipped=tuple(sorted(self.skipped)),
            held_out_rows=held_out_rows,
            planned_steps=planned_steps,
            kl_warning=known.evaluation.kl_warning,
            min_delta=known.training.min_delta,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """
    One training job with its curves.
    """

    job: str
    state: str
    version: str | None
    datasets: tuple[str, ...]
    running: bool
    """Whether a run of it has no end on record: figures may be added while this is read."""
    curves: JobCurves


def job_record(layout: Layout, journal: JournalView, job: JobRow) -> JobRecord:
    """
    Return a job of the journal with all that its runs wrote.

    Raises:
        OSError: A file of a run cannot be read.
    """
    records, planned, running = Records(), None, False
    for run in journal.runs.of_job(job.id):
        if run.kind is not RunKind.TRAINING:
            continue
        folder = layout.runs / run.id
        if run.resumed_from is None:
            records = Records()  # it began at the first step again
        records.add_run(folder)
        total = (read_json(folder / HEARTBEAT) or {}).get("batch_total_steps")
        planned = total if isinstance(total, int) else planned
        running = run.ended_at is None
    datasets = journal.datasets.of_job(job.id)
    return JobRecord(
        job=job.id,
        state=job.state,
        version=job.version,
        datasets=tuple(d.name for d in datasets),
        running=running,
        curves=records.curves(
            held_out_rows=sum(d.n_heldout or 0 for d in datasets) or None,
            planned_steps=planned,
            config=_configured(job),
        ),
    )


def _configured(job: JobRow) -> Config | None:
    try:
        return job.resolved_config()
    except ConfigError:
        return None  # of another version of the program, or no run of it began yet


def chosen_jobs(
    journal: JournalView, *, job: str | None = None, version: str | None = None, last: int = 1
) -> list[JobRow]:
    """
    Return one job, or the one that made a version, or the *last* jobs that were trained.

    Raises:
        RegistryError: There is no such job or version.
    """
    if job is not None:
        try:
            return [journal.jobs.get(job)]
        except KeyError:
            raise RegistryError(f"there is no job {job}; they look like j000012") from None
    jobs = [j for j in journal.jobs.in_states() if j.kind is JobKind.TRAINING]
    if version is not None:
        found = [j for j in jobs if j.version == version]
        if not found:
            raise RegistryError(f"no training job made a version {version}")
        return found
    return jobs[-last:]


def _note(points: Points, step: object, value: object) -> None:
    if isinstance(step, int) and not isinstance(step, bool) and _is_number(value):
        points[step] = float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)  # type: ignore[arg-type]
