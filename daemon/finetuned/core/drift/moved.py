"""
Which measures moved, and since when.

A span moved if a two-sample test shows it after the correction for all tests of the look, and if
the difference is large enough to matter: larger than a fixed one, and than those that spans of
the reference itself have from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from finetuned.core.drift.difference import difference, holm
from finetuned.core.drift.measure import (
    KINDS,
    RATES,
    UPWARDS,
    YES,
    Against,
    Alert,
    Difference,
    Measure,
    Span,
    Value,
    Values,
)

LEVEL: Final = 0.001
"""Corrected p-value that shows a difference; a root is looked at every day for years."""

LEAST_INDEX: Final = 0.2
"""Stability index that matters."""

LEAST_RATE: Final = 0.05
"""Change of a rate that matters: 5 points."""

USUAL: Final = 1.25
"""A difference must be so many times the largest one between spans of the reference."""

LEAST_SPANS: Final = 3
"""Spans of the reference from which on its own differences are known."""

SHOWN: Final = 3
"""Examples of an alert."""


def moved(
    reference: Values,
    spans: Sequence[Span],
    *,
    against: Against,
    usual: Mapping[Measure, float] | None = None,
) -> list[Alert]:
    """
    Return what moved, in the order of the measures; several runs of one measure are several.

    Args:
        reference: What is usual.
        spans: What is judged, oldest first.
        against: What the reference is.
        usual: From usual_differences(); None if the reference has no spans.
    """
    found = {
        (measure, i): one
        for measure in reference
        for i, span in enumerate(spans)
        if (one := difference(measure, reference[measure], span.values[measure])) is not None
    }
    corrected = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
    alerts: list[Alert] = []
    for measure in reference:
        needed = max(_least(measure), USUAL * (usual or {}).get(measure, 0.0))
        run: list[int] = []
        for i in range(len(spans) + 1):
            one = found.get((measure, i))
            shown = one is not None and corrected[measure, i] <= LEVEL and one.effect >= needed
            if shown:
                run.append(i)
            elif run:
                ps = [corrected[measure, k] for k in run]
                end = found[measure, run[-1]]
                alerts.append(_alert(measure, against, reference, spans, run, end, max(ps)))
                run = []
    return alerts


def _least(measure: Measure) -> float:
    return LEAST_RATE if measure in RATES else LEAST_INDEX


def _alert(
    measure: Measure,
    against: Against,
    reference: Values,
    spans: Sequence[Span],
    run: Sequence[int],
    end: Difference,
    p: float,
) -> Alert:
    last = spans[run[-1]]
    return Alert(
        measure=measure,
        against=against,
        since=spans[run[0]].first,
        noticed=spans[run[0]].last,
        until=None if run[-1] == len(spans) - 1 else last.last,
        difference=end,
        p=p,
        examples=telling(measure, last.values[measure], end),
    )


def telling(measure: Measure, values: Sequence[Value], found: Difference) -> tuple[int, ...]:
    """
    Return the numbers of the items that show a difference best, at most SHOWN.

    For numbers those furthest out on the side to which the median moved; for kinds those of the
    kind that became more frequent, or of another one than that which became rarer.
    """
    known = [(i, value) for i, value in enumerate(values) if value is not None]
    if measure in KINDS:
        rose = found.now >= found.before
        wanted = [i for i, value in known if (value == (found.kind or YES)) == rose]
        return tuple(wanted[:SHOWN])
    up = measure in UPWARDS or found.now >= found.before
    ranked = sorted(known, key=lambda item: float(item[1]), reverse=up)
    return tuple(i for i, _ in ranked[:SHOWN])


def usual_differences(spans: Sequence[Values]) -> dict[Measure, float]:
    """
    Return how far, at most, one span of the reference is from the others, by measure.

    Empty below LEAST_SPANS: too few to know.
    """
    if len(spans) < LEAST_SPANS:
        return {}
    usual: dict[Measure, float] = {}
    for measure in spans[0]:
        effects = []
        for i, span in enumerate(spans):
            others = [v for k, other in enumerate(spans) if k != i for v in other[measure]]
            one = difference(measure, others, span[measure])
            effects.append(0.0 if one is None else one.effect)
        usual[measure] = max(effects)
    return usual
