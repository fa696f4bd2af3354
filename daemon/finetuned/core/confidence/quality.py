"""
How good confidences are: calibrated, and able to tell right answers from wrong ones.

Pure; does not know where confidences come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

BINS: Final = 10
"""Equal parts of 0 to 1 into which confidences are sorted."""

_COVERAGES: Final = 20
"""Points of a risk-coverage curve."""


@dataclass(frozen=True, slots=True)
class Bin:
    """
    The answers whose confidence lies in one part of 0 to 1.
    """

    n: int
    """>= 1."""
    confidence: float
    """Mean."""
    accuracy: float
    """Share that is right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """
    What confidences were worth on answers with a mark.
    """

    n: int
    n_right: int
    ece: float
    """
    Expected calibration error: the mean, over answers, of how far their bin's confidence is from
    its accuracy, 0 to 1.
    """
    brier: float
    """Mean squared distance between confidence and mark, 0 to 1."""
    median_right: float | None
    """Of the confidence in right answers; None if none is right."""
    median_wrong: float | None
    auroc: float | None
    """
    Chance that a right answer has more confidence than a wrong one, ties counted half; None
    without both kinds.
    """
    bins: tuple[Bin, ...]
    """The reliability diagram; empty bins are left out."""
    risk: tuple[tuple[float, float], ...]
    """
    Risk-coverage: if only the surest share of answers is given (first number), the share of
    these that is wrong (second).
    """


def quality(confidences: Sequence[float], right: Sequence[bool]) -> Quality:
    """
    Return what *confidences* are worth.

    Args:
        confidences: 0 to 1 each. Length N >= 1.
        right: Whether each answer is right. Length N.
    """
    pairs = list(zip(confidences, right, strict=True))
    bins = reliability(confidences, right)
    n = len(pairs)
    sure = [c for c, is_right in pairs if is_right]
    unsure = [c for c, is_right in pairs if not is_right]
    return Quality(
        n=n,
        n_right=len(sure),
        ece=sum(b.n * abs(b.confidence - b.accuracy) for b in bins) / n,
        brier=sum((c - is_right) ** 2 for c, is_right in pairs) / n,
        median_right=median(sure) if sure else None,
        median_wrong=median(unsure) if unsure else None,
        auroc=auroc(sure, unsure),
        bins=bins,
        risk=risk_coverage(confidences, right),
    )


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> tuple[Bin, ...]:
    """
    Return the answers in equal parts of 0 to 1, lowest first, empty parts left out.
    """
    parts: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for confidence, is_right in zip(confidences, right, strict=True):
        parts[min(BINS - 1, int(confidence * BINS))].append((confidence, is_right))
    return tuple(
        Bin(len(part), sum(c for c, _ in part) / len(part), sum(r for _, r in part) / len(part))
        for part in parts
        if part
    )


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """
    Return the chance that one of *positive* is above one of *negative*, ties counted half.

    Returns:
        0 to 1; None if either is empty. By ranks (Mann and Whitney 1947).
    """
    if not positive or not negative:
        return None
    values = sorted([(v, True) for v in positive] + [(v, False) for v in negative])
    ranks, at = 0.0, 0
    while at < len(values):
        end = at
        while end < len(values) and values[end][0] == values[at][0]:
            end += 1
        ranks += (at + 1 + end) / 2 * sum(is_positive for _, is_positive in values[at:end])
        at = end
    p, q = len(positive), len(negative)
    return (ranks - p * (p + 1) / 2) / (p * q)


def risk_coverage(
    confidences: Sequence[float], right: Sequence[bool]
) -> tuple[tuple[float, float], ...]:
    """
    Return at up to 20 shares of the answers, surest first, the share of these that is wrong.

    Answers with equal confidence are given together or not at all, so that no order among them
    is made up.
    """
    pairs = sorted(zip(confidences, right, strict=True), key=lambda p: -p[0])
    n, curve, wrong = len(pairs), [], 0
    for i, (confidence, is_right) in enumerate(pairs, 1):
        wrong += not is_right
        if i == n or pairs[i][0] != confidence:
            curve.append((i / n, wrong / i))
    if len(curve) <= _COVERAGES:
        return tuple(curve)
    kept = {round((k + 1) * len(curve) / _COVERAGES) - 1 for k in range(_COVERAGES)}
    return tuple(curve[i] for i in sorted(kept))
