"""
Tests of a curve's shape: does it fall, and does it rise again after its lowest point?

Order-restricted likelihood-ratio tests. A curve is fitted by the best one that is flat,
that never rises, or that falls and then rises; how much of the first error the next shape
takes away is compared with what it takes from pure noise. Flat noise is the least favourable
case of "never rises", so that a curve that falls and stays there gives no false alarm.

Source:
    Robertson, Wright and Dykstra, Order Restricted Statistical Inference (1988), chapter 2,
    for the statistic and the least favourable case; the distribution is simulated.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from finetuned.core.curves.series import Series, autocorrelation

MAX_POINTS = 60
"""Points to which a curve is thinned before it is tested."""

MIN_POINTS = 8
"""Fewer points show nothing."""

_SIMULATIONS = 999


@dataclass(frozen=True, slots=True)
class Turn:
    """
    What a test of shape found.
    """

    p: float
    """Chance of as clear a shape in noise without it, 0.001 to 1."""
    step: int
    """Where the curve is lowest by the best fit."""
    low: float
    """Level of the fit there."""
    end: float
    """Level of the fit at the end."""


def falls(series: Series) -> float:
    """
    Return the p-value of "the curve falls somewhere" against "it is flat"; 1 for too few points.
    """
    values = series.thinned(MAX_POINTS).values
    if len(values) < MIN_POINTS:
        return 1.0
    null = _null(len(values), _tenths(values))
    return _p_value(_fall_share(values), null.fall)


def rises_again(series: Series) -> Turn | None:
    """
    Return the test of "falls, then rises" against "never rises"; None for too few points.
    """
    thin = series.thinned(MAX_POINTS)
    if len(thin) < MIN_POINTS:
        return None
    share, turn = _rise_share(thin.values)
    p = _p_value(share, _null(len(thin), _tenths(thin.values)).rise)
    low = never_rising(thin.values[:turn])[-1]
    end = never_rising(thin.values[turn:][::-1])[0] if turn < len(thin) else low
    return Turn(p, thin.steps[turn - 1], low, end)


def errors_of_prefixes(values: Sequence[float]) -> list[float]:
    """
    Return for each n the squared error of the best never-rising fit to the first n values.

    Pool adjacent violators; a list of one more than the values, 0 at first. Takes time in
    proportion to the values.
    """
    blocks: list[tuple[float, int, float]] = []  # sum, count, error around the mean
    errors = [0.0]
    total = 0.0
    for value in values:
        block = (value, 1, 0.0)
        while blocks and blocks[-1][0] * block[1] <= block[0] * blocks[-1][1]:
            before = blocks.pop()
            total -= before[2]
            block = _joined(before, block)
        blocks.append(block)
        total += block[2]
        errors.append(max(0.0, total))
    return errors


def never_rising(values: Sequence[float]) -> list[float]:
    """
    Return the best never-rising fit to *values*, by squared error.
    """
    blocks: list[tuple[float, int]] = []
    for value in values:
        block = (value, 1)
        while blocks and blocks[-1][0] * block[1] <= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1])
        blocks.append(block)
    return [total / count for total, count in blocks for _ in range(count)]


def falling_then_rising(values: Sequence[float]) -> list[float]:
    """
    Return the best fit to *values* that never rises up to some point and never falls after it.
    """
    _, turn = _rise_share(values)
    return [*never_rising(values[:turn]), *never_rising(values[turn:][::-1])[::-1]]


def alike_beside(values: Sequence[float]) -> float:
    """
    Return how alike neighbouring deviations from the never-rising fit are, 0 to 0.6.
    """
    rest = [v - f for v, f in zip(values, never_rising(values), strict=True)]
    square = sum(r * r for r in rest)
    if not square:
        return 0.0
    return min(0.6, max(0.0, sum(a * b for a, b in pairwise(rest)) / square + 1 / len(rest)))


def _joined(a: tuple[float, int, float], b: tuple[float, int, float]) -> tuple[float, int, float]:
    apart = a[0] / a[1] - b[0] / b[1]
    return a[0] + b[0], a[1] + b[1], a[2] + b[2] + apart * apart * a[1] * b[1] / (a[1] + b[1])


def _flat_error(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values)


def _fall_share(values: Sequence[float]) -> float:
    """Return the share of the error around the mean that a never-rising fit takes away."""
    flat = _flat_error(values)
    return 1 - errors_of_prefixes(values)[-1] / flat if flat else 0.0


def _rise_share(values: Sequence[float]) -> tuple[float, int]:
    """Return the share of a never-rising fit's error that a later rise explains, and where."""
    down = errors_of_prefixes(values)
    up = errors_of_prefixes(values[::-1])[::-1]
    n = len(values)
    turn = min(range(1, n + 1), key=lambda k: (down[k] + up[k], -k))
    none = max(down[-1], 1e-12 * (1 + sum(v * v for v in values)))
    return max(0.0, 1 - (down[turn] + up[turn]) / none) if down[-1] else 0.0, turn


@dataclass(frozen=True, slots=True)
class _Null:
    """Both statistics of simulated noise, each sorted."""

    fall: list[float]
    rise: list[float]


@lru_cache(maxsize=256)
def _null(n: int, tenths: int) -> _Null:
    """Simulate flat noise: an autoregression with a coefficient of *tenths* tenths."""
    draw, phi = random.Random(n * 100 + tenths), tenths / 10
    fall, rise = [], []
    for _ in range(_SIMULATIONS):
        values, x = [], draw.gauss() / (1 - phi * phi) ** 0.5
        for _ in range(n):
            x = phi * x + draw.gauss()
            values.append(x)
        fall.append(_fall_share(values))
        rise.append(_rise_share(values)[0])
    return _Null(sorted(fall), sorted(rise))


def _tenths(values: Sequence[float]) -> int:
    """Return the autocorrelation in tenths, one standard error of it added, in steps of 0.2."""
    phi = autocorrelation(values) + math.sqrt(1.5 / len(values))
    return min(8, math.ceil(5 * phi - 0.5) * 2)


def _p_value(share: float, null: Sequence[float]) -> float:
    return (1 + len(null) - bisect_left(null, share)) / (1 + len(null))
