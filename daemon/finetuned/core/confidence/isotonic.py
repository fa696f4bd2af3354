"""
Isotonic regression: the rising steps that fit best, by pooling adjacent violators.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Isotonic:
    """
    A probability that rises with one sign, straight between its points.
    """

    points: tuple[float, ...]
    """Values of the sign, rising; at least one."""
    values: tuple[float, ...]
    """The probability at each, never falling."""

    def at(self, sign: float) -> float:
        """
        Return the probability, 0 to 1; that of the nearest point outside of them.
        """
        place = bisect_right(self.points, sign)
        if place == 0:
            return self.values[0]
        if place == len(self.points):
            return self.values[-1]
        low, high = self.points[place - 1], self.points[place]
        share = (sign - low) / (high - low)
        return self.values[place - 1] + share * (self.values[place] - self.values[place - 1])


def fit_isotonic(signs: Sequence[float], right: Sequence[bool]) -> Isotonic:
    """
    Return the rising map with the smallest squared error (Ayer et al. 1955).

    A step at which all answers were right, or all wrong, is not taken for certain: no value is
    nearer to 0 or 1 than 1 / (N + 2).

    Args:
        signs: One number of each answer. Length N >= 1.
        right: Whether each answer is right. Length N.
    """
    n = len(signs)
    edge = 1 / (n + 2)
    points: list[float] = []
    values: list[float] = []
    for low, high, value in _steps(signs, right):
        for point in (low, high) if low < high else (low,):
            points.append(point)
            values.append(min(1 - edge, max(edge, value)))
    return Isotonic(tuple(points), tuple(values))


def _steps(signs: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float, float]]:
    """Return the steps of the best rising fit: lowest sign, highest sign, share that is right."""
    tied: dict[float, list[bool]] = defaultdict(list)
    for sign, is_right in zip(signs, right, strict=True):
        tied[sign].append(is_right)
    steps: list[tuple[float, float, int, int]] = []  # low, high, right, number
    for sign in sorted(tied):
        low, high, total, n = sign, sign, sum(tied[sign]), len(tied[sign])
        while steps and steps[-1][2] * n >= total * steps[-1][3]:  # not below the one before
            before = steps.pop()
            low, total, n = before[0], total + before[2], n + before[3]
        steps.append((low, high, total, n))
    return [(low, high, total / n) for low, high, total, n in steps]
