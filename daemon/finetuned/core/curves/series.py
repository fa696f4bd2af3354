"""
A measured curve: values at optimizer steps, thinned.

Does not judge a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median


@dataclass(frozen=True, slots=True)
class Series:
    """
    Finite values at rising optimizer steps.
    """

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise ValueError(f"{len(self.steps)} steps and {len(self.values)} values")
        if any(a >= b for a, b in pairwise(self.steps)):
            raise ValueError("steps must rise")
        if not all(map(math.isfinite, self.values)):
            raise ValueError("values must be finite")

    def __len__(self) -> int:
        return len(self.steps)

    @classmethod
    def of(cls, points: Mapping[int, float]) -> Series:
        """
        Return the finite values of *points* (step -> value) by step.
        """
        known = sorted((s, v) for s, v in points.items() if math.isfinite(v))
        return cls(tuple(s for s, _ in known), tuple(v for _, v in known))

    def since(self, index: int) -> Series:
        """
        Return the part from the point with this *index* on.
        """
        return Series(self.steps[index:], self.values[index:])

    def thinned(self, most: int) -> Series:
        """
        Return the means of equal stretches, at most *most* of them; each stands at its last step.
        """
        size = -(-len(self) // most)
        if size <= 1:
            return self
        cuts = range(0, len(self) - size + 1, size)  # a short rest would weigh as a whole one
        return Series(
            tuple(self.steps[i + size - 1] for i in cuts),
            tuple(fmean(self.values[i : i + size]) for i in cuts),
        )

    def level(self, share: float) -> float:
        """
        Return the median of the first *share* of the values, or of the last if it is negative.

        Args:
            share: -1 to 1; at least one value is taken.
        """
        n = max(1, round(abs(share) * len(self)))
        return median(self.values[:n] if share > 0 else self.values[-n:])


def autocorrelation(values: Sequence[float]) -> float:
    """
    Return how alike neighbouring deviations from the curve are: 0 not at all, at most 0.8.

    The mean squared difference of values two apart is 1 + phi times that of neighbours, if
    deviations follow an autoregression of the first order. A slow trend hardly touches either;
    a steep one makes the result too large, so that tests become more cautious, never less.

    Args:
        values: At equal distances; the last two thirds count, where curves are flatter.
    """
    late = values[len(values) // 3 :]
    if len(late) < 5:
        return 0.0
    near = fmean((b - a) ** 2 for a, b in pairwise(late))
    far = fmean((b - a) ** 2 for a, b in zip(late, late[2:], strict=False))
    return min(0.8, max(0.0, far / near - 1)) if near else 0.0
