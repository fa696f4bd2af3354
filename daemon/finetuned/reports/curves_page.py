"""
The page of finetuned curves: what each job's curves show, with the plots as evidence.

Knows charts and the wording of findings; does not read files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from finetuned.core.curves.finding import JobCurves, Kind, Reading
from finetuned.core.curves.series import Series
from finetuned.files.job_curves import JobRecord
from finetuned.reports import charts, html

Jobs = Sequence[tuple[JobRecord, Reading]]

_MARKED = {
    Kind.OVERFITTING: "held-out loss is lowest",
    Kind.PLATEAU: "flat from here",
    Kind.DIVERGENCE: "training loss rises",
}
"""Findings whose step is drawn into the plot of the loss."""

_TONES = {
    Kind.FALLING: "good",
    **dict.fromkeys(
        (Kind.OVERFITTING, Kind.DIVERGENCE, Kind.SPIKES, Kind.RATE_TOO_HIGH, Kind.NOTHING_LEARNT),
        "bad",
    ),
}


def curves_page(jobs: Jobs) -> str:
    """
    Return the page of some jobs, newest last.

    Returns:
        One HTML file that refers to no other. The same for the same arguments.
    """
    names = [record.job for record, _ in jobs]
    which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    values = {"title": f"Learning curves of {which}", "jobs": [_job(*job) for job in jobs]}
    return html.render("curves.html", values)


def _job(record: JobRecord, reading: Reading) -> dict[str, Any]:
    curves = record.curves
    return {
        "record": record,
        "curves": curves,
        "findings": [(f, _TONES.get(f.kind, "advice")) for f in reading.findings],
        "advice": reading.advice,
        "charts": list(_charts(record.job, curves, _marks(reading))),
    }


def _marks(reading: Reading) -> dict[str, int]:
    marked = [f for f in reading.findings if f.kind in _MARKED and f.step is not None]
    return {f"{_MARKED[f.kind]}: step {f.step:,}": f.step or 0 for f in marked[:1]}


def _charts(job: str, curves: JobCurves, marks: Mapping[str, int]) -> list[tuple[str, Markup]]:
    """Return the title and drawing of each curve that has two points or more."""
    wanted: list[tuple[str, str, dict[str, Series], dict[str, int]]] = [
        ("Loss", "nats per token", {"training rows": curves.loss, "held-out rows": curves.held_out},
         dict(marks)),
        ("Right answers of each look", "percent", {"right": _times(curves.accuracy, 100)}, {}),
        ("Gradient norm", "L2 norm", {"gradient": curves.grad_norm}, {}),
        ("Learning rate", "1e-4", {"rate": _times(curves.learning_rate, 1e4)}, {}),
        ("Distance from the start (KL)", "nats per token", {"divergence": curves.kl}, {}),
        ("Throughput", "tokens a second", {"tokens": curves.tokens_per_second}, {}),
    ]  # fmt: skip
    return [
        (
            title,
            charts.curves(
                f"{job} {title}",
                f"{title} by optimizer step, in {unit}",
                {label: _pairs(series) for label, series in lines.items() if len(series)},
                unit=unit,
                marks=found,
            ),
        )
        for title, unit, lines, found in wanted
        if any(len(series) > 1 for series in lines.values())
    ]


def _pairs(series: Series) -> list[charts.Point]:
    return list(zip(series.steps, series.values, strict=True))


def _times(series: Series, factor: float) -> Series:
    return Series(series.steps, tuple(factor * v for v in series.values))
