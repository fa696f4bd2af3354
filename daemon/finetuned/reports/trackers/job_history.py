"""
What a job measured, step by step, and what came of it: as names and numbers.

Reads the journal and the metrics of the run folders. Knows no program that shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from finetuned.core.job import FINAL_STATES, JobKind
from finetuned.core.run import RunKind
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import JobRow
from finetuned.files.run import EVALS, METRICS, each_metric
from finetuned.layout import Layout

SERIES: Final = {
    METRICS: {
        "loss": "train/loss",
        "grad_norm": "train/grad_norm",
        "learning_rate": "train/learning_rate",
        "tokens": "train/tokens",
        "seconds": "train/seconds_per_step",
    },
    EVALS: {"loss": "held_out/loss", "accuracy": "held_out/accuracy", "kl": "held_out/kl"},
}
"""File of a run folder -> field -> the name that the number is shown under."""


@dataclass(frozen=True, slots=True)
class Point:
    """
    One number of one step.
    """

    name: str
    step: int
    value: float
    seconds: float
    """Since the epoch."""


@dataclass(frozen=True, slots=True)
class JobHistory:
    """
    One job.
    """

    job_id: str
    began: float
    """Seconds since the epoch."""
    ended: float | None
    """None if it is not over."""
    tags: Mapping[str, str]
    settings: Mapping[str, str]
    """Its configuration: ``training.learning_rate`` and so on."""
    points: tuple[Point, ...]
    """By step; of a step that was done again after a crash the last counts."""
    results: Mapping[str, float]
    """What its candidate reached, and what the job cost."""
    left_out: int
    """Numbers that are not finite."""


def histories(layout: Layout, view: JournalView, only: str | None = None) -> Iterator[JobHistory]:
    """
    Yield every job that trained, oldest first.

    Args:
        layout: Of the root.
        view: Its journal.
        only: One job; None for all.

    Raises:
        sqlite3.Error, CorruptRow: The journal cannot be read.
    """
    for job in view.history.jobs():
        if job.kind is JobKind.TRAINING and job.config is not None and only in (None, job.id):
            yield _history(layout, view, job)


def _history(layout: Layout, view: JournalView, job: JobRow) -> JobHistory:
    found: dict[tuple[str, int], Point] = {}
    left_out, seconds = 0, 0.0
    runs = view.runs.of_job(job.id)
    began = _epoch(runs[0].started_at if runs else job.created_at)
    for run in runs:
        if run.ended_at is not None:
            seconds += max(0.0, _epoch(run.ended_at) - _epoch(run.started_at))
        if run.kind is not RunKind.TRAINING:
            continue
        for file, names in SERIES.items():
            for record in each_metric(layout.runs / run.id, file):
                at = _epoch(record.get("at"), began)
                step = record.get("step")
                for field, name in names.items():
                    value = record.get(field)
                    if not isinstance(step, int) or isinstance(value, bool):
                        continue
                    if isinstance(value, int | float) and math.isfinite(value):
                        found[name, step] = Point(name, step, float(value), at)
                    elif field in record and not isinstance(value, str):
                        left_out += 1
    results = {"cost/run_seconds": seconds}
    for answers in view.history.answers(job.id):
        if answers.subject == "candidate" and answers.asked:
            name = f"accuracy/{_plain(answers.title)}"
            results[name] = answers.right / answers.asked
    over = job.state in FINAL_STATES
    return JobHistory(
        job_id=job.id,
        began=began,
        ended=_epoch(job.updated_at) if over else None,
        tags=_tags(view, job),
        settings=_settings(job),
        points=tuple(sorted(found.values(), key=lambda p: (p.name, p.step))),
        results=results,
        left_out=left_out,
    )


def _tags(view: JournalView, job: JobRow) -> dict[str, str]:
    files = [row.name for row in view.datasets.of_job(job.id)]
    tags = {
        "job": job.id,
        "state": str(job.state),
        "version": job.version,
        "parent": job.parent,
        "reason": job.reason or job.error_message,
        "files": ", ".join(files[:20])
        + (f" and {len(files) - 20} more" if len(files) > 20 else ""),
    }
    return {name: value for name, value in tags.items() if value}


def _settings(job: JobRow) -> dict[str, str]:
    """Return the recorded configuration flat; as it is, also if this version knows other keys."""
    tables = orjson.loads(job.config or "{}")
    return {
        f"{section}.{key}": str(value)
        for section, table in tables.items()
        if isinstance(table, dict) and section in ("model", "data", "training")
        for key, value in table.items()
    }


def _plain(title: str) -> str:
    """Return a title with what neither program takes in a name replaced."""
    text = "".join(c if c.isalnum() or c in "_-. " else "_" for c in title)
    return text.strip()[:200] or "suite"


def _epoch(text: object, otherwise: float = 0.0) -> float:
    """Return an RFC 3339 time in seconds since the epoch; *otherwise* if it is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return otherwise
