"""
The business of a root in a few figures: cost by kind of run, improvement over time, production.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetuned.core.cost import Cost, total
from finetuned.core.job import JobKind
from finetuned.core.promotion import VersionVerdict
from finetuned.core.run import RunKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.core.worth import Right, mean_accuracy
from finetuned.files.journal_view import JournalView
from finetuned.files.production import Production, read_production
from finetuned.files.rows import ScoreRow
from finetuned.layout import Layout
from finetuned.reports.worth import Worths


@dataclass(frozen=True, slots=True)
class VersionPoint:
    """
    One version on the way: how good it was, and what had been paid by then.
    """

    version: str
    at: str
    verdict: VersionVerdict
    accuracy: float | None
    """Mean over the benchmarks that it shares with the newest version, 0 to 1."""
    suites: int
    """So many benchmarks."""
    money: float
    """Cost of all jobs up to the one that made it."""


@dataclass(frozen=True, slots=True)
class Business:
    """
    All of a root.
    """

    whole: Cost
    by_kind: Mapping[RunKind, Cost]
    jobs: int
    """Trainings that began."""
    per_job: float | None
    """Mean cost of one, with its evaluations; None if there was none, or it is not known."""
    over_time: tuple[VersionPoint, ...]
    production: tuple[Production, ...]
    """Of requests that were recorded, by version; empty if none was."""
    problem: str | None
    """Why the requests could not be read."""


def business_of(layout: Layout, view: JournalView, worths: Worths) -> Business:
    """
    Return the figures.

    Raises:
        sqlite3.Error, CorruptRow: The journal cannot be read.
    """
    costs = worths.costs
    by_kind = dict(costs.beside)
    for kinds in costs.by_job.values():
        for kind, cost in kinds.items():
            by_kind[kind] = by_kind.get(kind, Cost()) + cost
    trained = [
        job_id
        for job_id in costs.by_job
        if job_id in worths.jobs and worths.jobs[job_id].kind is JobKind.TRAINING
    ]
    paid = total(costs.of(job_id) for job_id in trained)
    production, problem = _production(layout)
    return Business(
        whole=costs.all,
        by_kind=by_kind,
        jobs=len(trained),
        per_job=paid.money / len(trained) if trained and paid.is_known else None,
        over_time=tuple(_over_time(view, worths)),
        production=production,
        problem=problem,
    )


def _over_time(view: JournalView, worths: Worths) -> list[VersionPoint]:
    versions = [v for v in view.versions.all() if v.job_id is not None]
    scores = {v.id: _benchmarks(view.scores.of_version(v.id)) for v in versions}
    newest = scores[versions[-1].id] if versions else {}
    points, paid = [], 0.0
    seen: set[str] = set()
    for version in versions:
        if version.job_id is not None and version.job_id not in seen:
            seen.add(version.job_id)
            paid += worths.costs.of(version.job_id).money
        shared = [score for suite, score in scores[version.id].items() if suite in newest]
        points.append(
            VersionPoint(
                version=version.id,
                at=version.created_at,
                verdict=version.verdict,
                accuracy=mean_accuracy(shared),
                suites=len(shared),
                money=paid,
            )
        )
    return points


def _benchmarks(scores: Sequence[ScoreRow]) -> dict[str, Right]:
    return {
        score.suite: Right(round((score.accuracy or 0.0) * score.n_asked), score.n_asked)
        for score in scores
        if score.origin == SuiteOrigin.BENCHMARK and score.accuracy is not None
    }


def _production(layout: Layout) -> tuple[tuple[Production, ...], str | None]:
    try:
        return tuple(read_production(layout.feedback)), None
    except sqlite3.Error as error:
        return (), f"{layout.feedback}: its requests cannot be read: {error}"
