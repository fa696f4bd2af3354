"""
How sure a version's answers are to be right: sentences, a row for each domain, two charts.

Pure. Knows the part ``confidence`` of eval_report.json (docs/reference/eval_report.schema.json);
does not know HTML. Reports of earlier releases have no such part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetuned.core.confidence.calibration import ALL, UNCALIBRATED
from finetuned.core.text import visible
from finetuned.reports.subjects import Report
from finetuned.reports.wording import count, finite, number, percent

Figures = Mapping[str, Any]
"""Quality of one domain, as the report has it."""


@dataclass(frozen=True, slots=True)
class DomainRow:
    """
    One domain, in words.
    """

    name: str
    n: int
    right: str
    """Share that is right."""
    ece: str
    median_right: str
    median_wrong: str
    auroc: str
    raw_ece: str
    """Of the mean token probability."""
    raw_auroc: str


@dataclass(frozen=True, slots=True)
class ConfidenceSection:
    """
    What is said of one version.
    """

    sentence: str
    rows: tuple[DomainRow, ...]
    reliability: dict[str, list[tuple[float, float]]]
    """Label -> confidence and share that is right, in percent; empty without a map."""
    risk: dict[str, list[tuple[float, float]]]
    """Label -> share of answers given and share of these that is wrong, in percent."""


def confidence_section(report: Report) -> ConfidenceSection | None:
    """
    Return what an eval report says of confidence; None if it says nothing.
    """
    found = report.get("confidence")
    if not found:
        return None
    calibrated, raw = found.get("calibrated") or {}, found.get("uncalibrated") or {}
    rows = tuple(
        _row(domain, calibrated.get(domain) or {}, figures) for domain, figures in raw.items()
    )
    whole = calibrated.get(ALL)
    reliability, risk = {}, {"mean token probability": _risk(raw.get(ALL))}
    if whole:
        reliability = {
            "as it should be": [(0.0, 0.0), (100.0, 100.0)],
            "calibrated": [(100 * b["confidence"], 100 * b["accuracy"]) for b in whole["bins"]],
        }
        risk["calibrated"] = _risk(whole)
    return ConfidenceSection(
        sentence=_sentence(found),
        rows=rows,
        reliability=reliability,
        risk={label: points for label, points in risk.items() if len(points) > 1},
    )


def _sentence(found: Mapping[str, Any]) -> str:
    if found.get("map") is None:
        why = visible(found.get("why") or "unknown")
        return f"No map was fitted: {why}. Served is the {UNCALIBRATED}."
    kind = "logistic" if found["map"].get("logistic") else "rising"
    return (
        f"A {kind} map was fitted on {count(found['n'], 'answer')}, of which {found['n_right']} "
        "are right. For these figures each answer was judged by a map that was fitted without "
        "the questions like it."
    )


def _row(domain: str, figures: Figures, raw: Figures) -> DomainRow:
    return DomainRow(
        name=visible(domain),
        n=raw["n"],
        right=percent(raw["n_right"] / raw["n"]),
        ece=number(figures.get("ece")),
        median_right=number(figures.get("median_right")),
        median_wrong=number(figures.get("median_wrong")),
        auroc=number(figures.get("auroc")),
        raw_ece=number(raw.get("ece")),
        raw_auroc=number(raw.get("auroc")),
    )


def _risk(figures: Figures | None) -> list[tuple[float, float]]:
    pairs = [(finite(x), finite(y)) for x, y in (figures or {}).get("risk") or []]
    return [(100 * x, 100 * y) for x, y in pairs if x is not None and y is not None]
