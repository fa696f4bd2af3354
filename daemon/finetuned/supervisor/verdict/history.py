"""
What the supervisor adds to a worker's eval report: curves, what was forgotten, the verdict.

The numbers of the worker are not touched. Reads journal and run folders; changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from finetuned.core.forgetting import Stage, backward_transfer, matrix, worst_drop
from finetuned.core.gate.verdict import Verdict
from finetuned.core.promotion import VersionVerdict
from finetuned.core.run import RunKind
from finetuned.files.journal import Journal
from finetuned.files.rows import JobRow
from finetuned.files.run import EVALS, each_metric
from finetuned.supervisor.context import Context

CURVE_POINTS = 400
"""A curve is thinned to this many points; more cannot be told apart in a picture."""

CANDIDATE_ROW = "candidate"
"""What the last row of the matrix is called until it has a version."""


def note_verdict(
    report: dict[str, Any], verdict: Verdict, outcome: VersionVerdict, reason: str
) -> None:
    """
    Write into *report* what the gate said, and why in one sentence.
    """
    report["verdict"] = {
        "outcome": outcome,
        "promoted": outcome is VersionVerdict.PROMOTED,
        "reason": reason,
        "rules": rules_of(verdict),
    }


def rules_of(verdict: Verdict) -> list[dict[str, Any]]:
    """
    Return every rule as plain JSON.
    """
    return [
        {
            "name": rule.name,
            "passed": rule.passed,
            "required": rule.required,
            "kind": rule.kind,
            "against": rule.against,
            "detail": rule.detail,
            "suite": rule.suite,
            "numbers": rule.numbers,
        }
        for rule in verdict.rules
    ]


def add_history(context: Context, job: JobRow, report: dict[str, Any]) -> None:
    """
    Write into *report* how the candidate was trained and what the lineage forgot.
    """
    report["curves"] = _curves(context, job.id)
    stages, titles = lineage_stages(context.journal, job.parent)
    titles |= {s["name"]: s["title"] for s in report.get("suites", [])}
    stages.append(_candidate_stage(report))
    drop = worst_drop(stages)
    columns, rows = matrix(stages)
    report["forgetting"] = {
        "backward_transfer": _rounded(backward_transfer(stages)),
        "worst_drop": None
        if drop is None
        else {
            "suite": drop.suite,
            "title": titles.get(drop.suite, drop.suite),
            "best": drop.best,
            "now": drop.now,
            "drop": _rounded(drop.points),
        },
        "matrix": {
            "rows": [{"version": s.version, "titles": list(s.titles)} for s in stages],
            "columns": [titles.get(name, name) for name in columns],
            "accuracy": rows,
        },
    }


def lineage_stages(journal: Journal, version: str | None) -> tuple[list[Stage], dict[str, str]]:
    """
    Return each version of the lineage of *version*, oldest first, and the titles of its suites.
    """
    stages: list[Stage] = []
    titles: dict[str, str] = {}
    for name in journal.versions.lineage(version):
        scores = journal.scores.of_version(name)
        titles |= {score.suite: score.title or score.suite for score in scores}
        stages.append(
            Stage(
                version=name,
                titles=tuple(journal.scores.titles_of(name)),
                new=frozenset(score.suite for score in scores if score.origin == "new"),
                accuracy={
                    score.suite: score.accuracy for score in scores if score.accuracy is not None
                },
                asked={score.suite: score.n_asked for score in scores},
            )
        )
    return stages, titles


def _candidate_stage(report: dict[str, Any]) -> Stage:
    scores = report.get("subjects", {}).get("candidate", {}).get("suites", {})
    parts = {s["name"] for s in report.get("suites", []) if s.get("n_unasked")}
    return Stage(
        version=CANDIDATE_ROW,
        titles=tuple(d["name"] for d in report.get("datasets", [])[:20]),
        new=frozenset(s["name"] for s in report.get("suites", []) if s["origin"] == "new"),
        accuracy={
            name: score["accuracy"]
            for name, score in scores.items()
            if score["accuracy"] is not None and name not in parts
        },
    )


def _curves(context: Context, job_id: str) -> dict[str, list[list[float]]]:
    """Return loss and distance from the parent by step, over all training runs of the job."""
    curves: dict[str, dict[int, float]] = {"train_loss": {}, "held_out_loss": {}, "kl": {}}
    for run in context.journal.runs.of_job(job_id):
        if run.kind is not RunKind.TRAINING:
            continue
        folder = context.layout.runs / run.id
        # Read line by line, so that the metrics of a long job are never held in memory.
        for record in each_metric(folder):
            _note(curves["train_loss"], record.get("step"), record.get("loss"))
        for record in each_metric(folder, EVALS):
            _note(curves["held_out_loss"], record.get("step"), record.get("loss"))
            _note(curves["kl"], record.get("step"), record.get("kl"))
    return {name: _thinned(points) for name, points in curves.items()}


def _note(points: dict[int, float], step: object, value: object) -> None:
    if isinstance(step, int) and isinstance(value, int | float) and math.isfinite(value):
        points[step] = float(value)


def _thinned(points: dict[int, float]) -> list[list[float]]:
    steps = sorted(points)
    every = math.ceil(len(steps) / CURVE_POINTS) or 1
    kept = sorted({*steps[::every], *steps[-1:]})
    return [[step, points[step]] for step in kept]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def named(report: dict[str, Any], version: str) -> dict[str, Any]:
    """
    Return *report* with the version name that its candidate was given.
    """
    forgetting = report["forgetting"]
    rows = forgetting["matrix"]["rows"]
    last = {**rows[-1], "version": version}
    matrix_ = {**forgetting["matrix"], "rows": [*rows[:-1], last]}
    return {**report, "version": version, "forgetting": {**forgetting, "matrix": matrix_}}


def report_bytes(report: dict[str, Any]) -> bytes:
    """
    Return *report* as the bytes of the version's eval report.
    """
    return orjson.dumps(report, option=orjson.OPT_INDENT_2)
