"""
A measured curve: values at optimizer steps, thinned, and joined from answers to changing questions.

Does not judge a curve.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import TypeVar

Key = TypeVar("Key", int, str)

_ROUNDS = 30


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


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One question at one step: its loss, in nats per token.
    """

    step: int
    question: str
    loss: float


def paired(answers: Iterable[Answer]) -> Series:
    """
    Return the mean loss of each look, with what is easy or hard in its questions taken out.

    A look asks a few questions, and the next one others. Loss is modelled as a level of the
    look plus one of the question, fitted by least squares: a curve of the model remains.

    Args:
        answers: Of all looks. Questions that were asked once say nothing about a change and
            are left out, if there are any others.

    Source:
        The additive two-way layout, fitted by alternating means (Tukey's median polish with
        means): Hoaglin, Mosteller and Tukey, Understanding Robust and Exploratory Data
        Analysis (1983), chapter 6.
    """
    cells = [a for a in answers if math.isfinite(a.loss)]
    asked: dict[str, set[int]] = defaultdict(set)
    for cell in cells:
        asked[cell.question].add(cell.step)
    cells = [c for c in cells if len(asked[c.question]) > 1] or cells
    if not cells:
        return Series()
    question = dict.fromkeys(asked, 0.0)
    look: dict[int, float] = {}
    for _ in range(_ROUNDS):
        look = _means((c.step, c.loss - question[c.question]) for c in cells)
        question |= _means((c.question, c.loss - look[c.step]) for c in cells)
        centre = fmean(question[c.question] for c in cells)
        question = {name: value - centre for name, value in question.items()}
    return Series.of(_means((c.step, c.loss - question[c.question]) for c in cells))


def _means(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: dict[Key, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: fmean(values) for key, values in found.items()}


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
