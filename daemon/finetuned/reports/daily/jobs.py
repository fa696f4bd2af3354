"""
What a job did, and how the version in use does on its suites, read from journal and run folders.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from finetuned.core.curves.finding import Reading
from finetuned.core.curves.reading import read
from finetuned.core.daily import Curve, JobFact, SuiteFact
from finetuned.core.run import RunKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.files.job_curves import job_record
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import JobRow, RunRow
from finetuned.files.run import EVALS, HELD_OUT, METRICS, each_metric
from finetuned.layout import Layout
from finetuned.reports.wording import finite

MOST_POINTS = 300
"""Of one curve; a longer one is the means of equal stretches."""


def job_fact(layout: Layout, journal: JournalView, job: JobRow) -> JobFact:
    """
    Return what a job did; curves that cannot be read are left out.
    """
    runs = [run for run in journal.runs.of_job(job.id) if run.kind is RunKind.TRAINING]
    steps = next((run.last_step for run in reversed(runs) if run.last_step is not None), None)
    asked, right = 0, 0.0
    for score in journal.scores.of_version(job.version) if job.version is not None else ():
        if score.origin == SuiteOrigin.NEW and score.accuracy is not None:
            asked += score.n_asked
            right += score.n_asked * score.accuracy
    return JobFact(
        id=job.id,
        kind=job.kind,
        state=job.state,
        files=tuple(row.name for row in journal.datasets.of_job(job.id)),
        version=job.version,
        reason=job.error_message or job.reason,
        steps=steps,
        seconds=sum(map(_seconds, runs)),
        loss=_curve([layout.runs / run.id for run in runs], METRICS),
        held_out=_curve([layout.runs / run.id for run in runs], HELD_OUT)
        or _curve([layout.runs / run.id for run in runs], EVALS),
        reading=_reading(layout, journal, job),
        n_asked=asked,
        accuracy=right / asked if asked else None,
    )


def _reading(layout: Layout, journal: JournalView, job: JobRow) -> Reading | None:
    try:
        return read(job_record(layout, journal, job).curves)
    except OSError:
        return None


def _seconds(run: RunRow) -> float:
    if run.ended_at is None:
        return 0.0
    began, ended = map(datetime.fromisoformat, (run.started_at, run.ended_at))
    return max(0.0, (ended - began).total_seconds())


def _curve(folders: list[Path], name: str) -> Curve:
    """Return the curve over the runs of a job: a later run did the steps after its start again."""
    points: dict[int, float] = {}
    for folder in folders:
        begun = False
        try:
            for record in each_metric(folder, name):
                step, value = record.get("step"), finite(record.get("loss"))
                if type(step) is not int or value is None:
                    continue
                if not begun:
                    points = {s: v for s, v in points.items() if s < step}
                    begun = True
                points[step] = value
        except OSError:
            continue
    return _thinned(tuple(sorted(points.items())))


def _thinned(curve: Curve) -> Curve:
    if len(curve) <= MOST_POINTS:
        return curve
    size = -(-len(curve) // MOST_POINTS)
    parts = [curve[i : i + size] for i in range(0, len(curve), size)]
    return tuple((part[-1][0], sum(value for _, value in part) / len(part)) for part in parts)


LEVELS = ("easy", "medium", "hard")
"""Words in the names of suites, in the order in which a report lists them."""


def _level(suite: str) -> int:
    return next((i for i, word in enumerate(LEVELS) if word in suite), len(LEVELS))


def suite_facts(
    journal: JournalView, release: str | None, before: str | None
) -> tuple[SuiteFact, ...]:
    """
    Return how the version in use does on each suite, benchmarks first.

    Args:
        journal: Only read.
        release: The version in use; the base model, None, has no scores of its own.
        before: The version in use when the day began, whose accuracies are compared.
    """
    if release is None:
        return ()
    earlier = {}
    if before is not None and before != release:
        earlier = {score.suite: score.accuracy for score in journal.scores.of_version(before)}
    order = [SuiteOrigin.BENCHMARK, SuiteOrigin.CANARY, SuiteOrigin.NEW, SuiteOrigin.OLD]
    scores = [score for score in journal.scores.of_version(release) if score.accuracy is not None]
    ranks = {str(origin): rank for rank, origin in enumerate(order)}
    scores.sort(
        key=lambda score: (ranks.get(str(score.origin), 9), _level(score.suite), score.suite)
    )
    return tuple(
        SuiteFact(
            title=score.title or score.suite,
            origin=str(score.origin),
            n_asked=score.n_asked,
            n_correct=round((score.accuracy or 0.0) * score.n_asked),
            before=earlier.get(score.suite),
        )
        for score in scores
    )
