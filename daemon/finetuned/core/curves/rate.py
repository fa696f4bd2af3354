"""
Whether the learning rate was too high or too low for the job.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.core.curves.finding import Finding, JobCurves, Kind
from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import MAX_POINTS, MIN_POINTS, alike_beside, falls
from finetuned.core.curves.slope import slope_of
from finetuned.core.statistics import student_tail

_LEVEL = 0.01
_MANY_SPIKES = 3
_SKIPPED_SHARE = 0.01
_STRAIGHT = 0.6
"""A second half that falls by more than this share of the first has not begun to bend."""
_NEAR = 0.05
"""Divergence from the start, in nats per token, below which a model has hardly moved."""


def rate_findings(curves: JobCurves, found: Sequence[Finding]) -> list[Finding]:
    """
    Return what *curves*, and what is *found* in them already, say of the learning rate.
    """
    signs = []
    for finding in found:
        lingering = finding.numbers.get("lingering") or 0
        if finding.kind is Kind.DIVERGENCE or lingering >= _MANY_SPIKES:
            signs.append(finding.sentence)
    skipped = len(curves.skipped)
    if skipped and skipped < _SKIPPED_SHARE * max(1, curves.last_step):
        signs = [s for s in signs if "left out" not in s]
    if signs:
        rate = max(curves.learning_rate.values, default=None)
        named = "The learning rate" if rate is None else f"A learning rate of {rate:g}"
        sentence = f"{named} is too high for this job. " + " ".join(signs)
        return [Finding(Kind.RATE_TOO_HIGH, sentence, numbers={"learning_rate": rate})]
    if any(f.kind in (Kind.OVERFITTING, Kind.PLATEAU) for f in found):
        return []  # it was high enough to learn all there was
    return [low] if (low := _too_low(curves)) else []


def _too_low(curves: JobCurves) -> Finding | None:
    """Return that the loss falls along a straight line, and the model has hardly moved."""
    if any(kl > _NEAR for kl in curves.kl.values):
        return None
    loss = _after_warm_up(curves).thinned(MAX_POINTS)
    if len(loss) < 2 * MIN_POINTS or falls(loss) > _LEVEL:
        return None
    half = len(loss) // 2
    phi = alike_beside(loss.values)
    first = slope_of(Series(loss.steps[:half], loss.values[:half]), phi)
    second = slope_of(loss.since(half), phi)
    if first is None or second is None or first.fall <= 0:
        return None
    gap = second.fall - _STRAIGHT * first.fall
    error = (second.error**2 + (_STRAIGHT * first.error) ** 2) ** 0.5
    p = student_tail(gap / error, min(first.freedom, second.freedom))
    if p > _LEVEL:
        return None
    return Finding(
        Kind.RATE_TOO_LOW,
        f"Training loss falls along a straight line to the end, by {first.fall:.3f} in the first "
        f"half and {second.fall:.3f} in the second: the learning rate is too low for so few steps.",
        None,
        p,
        {"first_half": first.fall, "second_half": second.fall},
    )


def _after_warm_up(curves: JobCurves) -> Series:
    """Return the training loss from the step on at which the learning rate is at its highest."""
    rate = curves.learning_rate
    if not len(rate):
        return curves.loss
    highest = max(rate.values)
    begin = next(s for s, v in zip(rate.steps, rate.values, strict=True) if v >= 0.99 * highest)
    index = next((i for i, s in enumerate(curves.loss.steps) if s >= begin), 0)
    return curves.loss.since(index)
