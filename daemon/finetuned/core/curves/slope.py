"""
How steep the end of a curve is, with an interval, and since when it is flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import MAX_POINTS, MIN_POINTS, alike_beside
from finetuned.core.statistics import student_tail


@dataclass(frozen=True, slots=True)
class Slope:
    """
    A straight line through part of a curve.
    """

    since: int
    """First step of the part."""
    fall: float
    """By how much the line falls from the first to the last step; negative if it rises."""
    error: float
    """Standard error of *fall*, neighbouring deviations being alike taken into account."""
    freedom: int

    def p_above(self, margin: float) -> float:
        """Return the one-sided p-value of "it falls by more than *margin*"."""
        return student_tail((self.fall - margin) / self.error, self.freedom)

    def p_below(self, margin: float) -> float:
        """Return the one-sided p-value of "it falls by less than *margin*"."""
        return student_tail((margin - self.fall) / self.error, self.freedom)


def slope_of(series: Series, phi: float = 0.0) -> Slope | None:
    """
    Return the least-squares line through *series*; None for fewer than 5 points.

    Args:
        series: Part of a curve.
        phi: How alike neighbouring deviations of the whole curve are; see shape.alike_beside().
    """
    n = len(series)
    if n < 5:
        return None
    x, y = series.steps, series.values
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    rate = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = [b - mean_y - rate * (a - mean_x) for a, b in zip(x, y, strict=True)]
    alike = (1 + phi) / (1 - phi)
    span = x[-1] - x[0]
    error = (sum(r * r for r in rest) / (n - 2) / spread * alike) ** 0.5 * span
    tiny = 1e-9 * (1 + abs(mean_y))
    return Slope(x[0], -rate * span, max(error, tiny), max(1, round((n - 2) / alike)))


def flat_since(
    series: Series, margin: float, *, least: float = 0.0, p: float = 0.05
) -> Slope | None:
    """
    Return the longest end of a curve that is shown to be flat, None if none is.

    It is shown to fall by less than *margin*, and not shown to fall by more than *least*: an
    interval that leaves no room for a fall that matters, and none that was found.

    Args:
        series: The curve.
        margin: In the unit of its values, > 0.
        least: A fall that does not matter, in the same unit, 0 to *margin*.
        p: Level of both tests.

    Returns:
        An end of at least a quarter of the points, and of MIN_POINTS at least.
    """
    thin = series.thinned(MAX_POINTS)
    phi = alike_beside(thin.values)
    shortest = max(MIN_POINTS, -(-len(thin) // 4))
    for begin in range(len(thin) - shortest + 1):
        line = slope_of(thin.since(begin), phi)
        if line is not None and _is_flat(thin.values[begin:], line, margin, least, p):
            return line
    return None


def _is_flat(end: Sequence[float], line: Slope, margin: float, least: float, p: float) -> bool:
    """Return whether an end is shown to be flat; its first quarter alone must not be higher."""
    if line.p_below(margin) >= p or line.p_above(least) < p:
        return False
    quarter = max(2, len(end) // 4)
    # A line through an end with a bend is flatter than its beginning.
    return fmean(end[:quarter]) - fmean(end[quarter:]) < margin
