"""
What a lineage answered to each question over its life: live evals, and the reports of versions.

Asks no model: all of it was written when it happened. Live evals of an earlier version of the
program kept no answers; of their jobs only the reports tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from finetuned.core.evolution import Sighting
from finetuned.core.job import JobKind, JobState
from finetuned.core.run import RunKind
from finetuned.files.journal_view import JournalView
from finetuned.files.run import EVALS, REPORT, each_metric, read_json
from finetuned.layout import Layout

_BEFORE = ("head", "incumbent", "base")
"""Subjects of a report that are the model before the job: the first that was asked."""


@dataclass(slots=True)
class Example:
    """
    One question with all that was answered to it.
    """

    id: str
    prompt: str | None = None
    """None until a report names it: live evals keep answers only."""
    golden: str | None = None
    suite: str | None = None
    """Title of its suite: the file that it came from."""
    sightings: list[Sighting] = field(default_factory=list)


def evolution(
    layout: Layout, journal: JournalView, version: str | None = None
) -> dict[str, Example]:
    """
    Return every question that a lineage was asked, by id, with its answers in their order.

    Args:
        layout: Of the root.
        journal: Of the root.
        version: The last version of the lineage; None takes the head, and jobs that train on it.

    Raises:
        OSError: A file of a run cannot be read.
    """
    examples: defaultdict[str, Example] = defaultdict(lambda: Example(""))
    lineage = journal.versions.lineage(version or journal.heads.version())
    rows = {row.id: row for row in journal.versions.all()}
    for name in lineage:
        report = read_json(layout.versions / name / REPORT) or {}
        job = rows[name].job_id or name
        _add_report(examples, report, job=job, version=None, subjects=_BEFORE)
        if rows[name].job_id is not None:
            _add_looks(layout, journal, job, examples)
        _add_report(examples, report, job=job, version=name, subjects=("candidate",))
    if version is None:
        for job_row in journal.jobs.in_states(JobState.TRAINING, JobState.TRAINED):
            if job_row.kind is JobKind.TRAINING:
                _add_looks(layout, journal, job_row.id, examples)
    for name, example in examples.items():
        example.id = name
    return dict(examples)


def _add_looks(
    layout: Layout, journal: JournalView, job: str, examples: defaultdict[str, Example]
) -> None:
    looks: dict[tuple[int, str], Mapping[str, Any]] = {}
    for run in journal.runs.of_job(job):
        if run.kind is not RunKind.TRAINING:
            continue
        if run.resumed_from is None:
            looks.clear()  # the job began at its first step again
        for record in each_metric(layout.runs / run.id, EVALS):
            step = record.get("step")
            if isinstance(step, int):
                looks |= {(step, answer["id"]): answer for answer in _answers(record)}
    for (step, name), answer in sorted(looks.items(), key=lambda item: item[0][0]):
        matches, loss = answer.get("matches"), answer.get("loss")
        examples[name].sightings.append(
            Sighting(
                job,
                step,
                None,
                answer.get("answer"),
                matches if isinstance(matches, bool) else None,
                float(loss) if isinstance(loss, int | float) else None,
            )
        )


def _answers(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    answers = record.get("answers")
    for answer in answers if isinstance(answers, list) else ():
        if isinstance(answer, dict) and isinstance(answer.get("id"), str):
            yield answer


def _add_report(
    examples: defaultdict[str, Example],
    report: Mapping[str, Any],
    *,
    job: str,
    version: str | None,
    subjects: tuple[str, ...],
) -> None:
    """
    Add the answers of one subject of a report; of the model before a job, those to its new rows.
    """
    suites = {s["name"]: s for s in report.get("suites") or () if isinstance(s, dict)}
    steps = [p[0] for p in (report.get("curves") or {}).get("train_loss") or () if p]
    for item in report.get("items") or ():
        suite = suites.get(item.get("suite"), {})
        if version is None and suite.get("origin") != "new":
            continue  # the version before has been seen with it already
        example = examples[str(item.get("id"))]
        example.prompt, example.golden = item.get("prompt"), item.get("golden")
        example.suite = suite.get("title")
        outcomes = item.get("outcomes") or {}
        outcome = next((outcomes[s] for s in subjects if outcomes.get(s)), None)
        if outcome is not None:
            step = int(steps[-1]) if version is not None and steps else 0
            example.sightings.append(_sighting(job, step, version, outcome))


def _sighting(job: str, step: int, version: str | None, outcome: Mapping[str, Any]) -> Sighting:
    loss, n_tokens = outcome.get("loss"), outcome.get("n_tokens")
    correct = outcome.get("correct")
    return Sighting(
        job,
        step,
        version,
        outcome.get("answer"),
        correct if isinstance(correct, bool) and not outcome.get("timed_out") else None,
        loss / n_tokens if isinstance(loss, int | float) and n_tokens else None,
    )
