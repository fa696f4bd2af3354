"""
Settings compared with those of today over several seeds, and whether they are recommended.

The seeds are other ones than that of the search: the best of many trials on one seed is also
the luckiest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from finetuned.core.statistics import student_tail

LEAST_SEEDS: Final = 3
"""Fewer say next to nothing about noise."""

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedPair:
    """
    Both settings trained with the same seed.
    """

    seed: int
    loss_today: float
    """Held-out loss in nats per token."""
    loss_found: float
    forgetting_today: float | None = None
    """Rise of the loss on earlier rows, in nats per token; None if there are none."""
    forgetting_found: float | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """
    A mean difference, found minus today, and where it lies with 95% confidence.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """
    What the seeds show.
    """

    pairs: tuple[SeedPair, ...]
    loss: Interval
    forgetting: Interval | None
    """None if there are no earlier files."""

    @property
    def better(self) -> bool:
        """Whether the held-out loss is lower beyond noise."""
        return self.loss.high < 0

    @property
    def forgets_more(self) -> bool:
        """Whether more is forgotten beyond noise."""
        return self.forgetting is not None and self.forgetting.low > 0

    @property
    def recommended(self) -> bool:
        """Whether the found settings should replace those of today."""
        return self.better and not self.forgets_more


def compare(pairs: Sequence[SeedPair]) -> Comparison:
    """
    Return what *pairs* show.

    Args:
        pairs: Of LEAST_SEEDS different seeds or more.

    Raises:
        ValueError: There are fewer, or a seed is there twice.
    """
    if len({pair.seed for pair in pairs}) != len(pairs) or len(pairs) < LEAST_SEEDS:
        raise ValueError(f"{LEAST_SEEDS} different seeds or more, got {[p.seed for p in pairs]}")
    forgetting = [
        pair.forgetting_found - pair.forgetting_today
        for pair in pairs
        if pair.forgetting_found is not None and pair.forgetting_today is not None
    ]
    return Comparison(
        pairs=tuple(pairs),
        loss=interval([pair.loss_found - pair.loss_today for pair in pairs]),
        forgetting=interval(forgetting) if len(forgetting) == len(pairs) else None,
    )


def interval(differences: Sequence[float]) -> Interval:
    """
    Return mean and Student's interval of paired differences.

    Args:
        differences: Two or more finite numbers.
    """
    mean, n = fmean(differences), len(differences)
    half = student_quantile(1 - CONFIDENCE, n - 1) * stdev(differences) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def student_quantile(both_tails: float, freedom: int) -> float:
    """
    Return t such that P(|T| >= t) is *both_tails*, of Student's distribution.

    Args:
        both_tails: Above 0, below 1.
        freedom: Degrees of freedom, >= 1.
    """
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > both_tails / 2:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if student_tail(middle, freedom) > both_tails / 2:
            low = middle
        else:
            high = middle
    return high


def advice_of(compared: Comparison) -> str:
    """
    Return what to do after a comparison, in a sentence.
    """
    seeds, loss = len(compared.pairs), compared.loss
    shown = f"{loss.mean:+.4f} nats a token ({loss.low:+.4f} to {loss.high:+.4f})"
    if compared.recommended:
        return f"use the found settings: over {seeds} seeds the held-out loss changes by {shown}"
    if compared.better:
        return f"keep the settings of today: the loss changes by {shown}, but more is forgotten"
    return (
        f"keep the settings of today: over {seeds} seeds the loss changes by {shown}, which is not "
        "shown to be better"
    )
