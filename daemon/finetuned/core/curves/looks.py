"""
One held-out curve from looks that each asked a few questions, and not the same ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TypeVar

from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import falling_then_rising

Key = TypeVar("Key", int, str)

_ROUNDS = 20


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

    Loss is modelled as a curve of the steps plus a level of the question, fitted by turns: the
    level of a question is its mean distance from the curve, and the curve is the best one
    through the rest that falls and then rises or stays. Questions that were asked several
    times so tell looks apart that have no question in common.

    Args:
        answers: Of all looks. Questions that were asked once say nothing about a change and
            are left out, if there are any others.

    Source:
        Backfitting of an additive model: Buja, Hastie and Tibshirani, The Annals of
        Statistics 17 (1989), with an order-restricted smoother.
    """
    cells = [a for a in answers if math.isfinite(a.loss)]
    asked: dict[str, set[int]] = defaultdict(set)
    for cell in cells:
        asked[cell.question].add(cell.step)
    cells = [c for c in cells if len(asked[c.question]) > 1] or cells
    if not cells:
        return Series()
    question = dict.fromkeys(asked, 0.0)
    look = _looks(cells, question)
    for _ in range(_ROUNDS):
        steps = sorted(look)
        curve = dict(zip(steps, falling_then_rising([look[s] for s in steps]), strict=True))
        question |= _means((c.question, c.loss - curve[c.step]) for c in cells)
        centre = fmean(question[c.question] for c in cells)
        question = {name: value - centre for name, value in question.items()}
        look = _looks(cells, question)
    return Series.of(look)


def _looks(cells: list[Answer], question: dict[str, float]) -> dict[int, float]:
    return _means((c.step, c.loss - question[c.question]) for c in cells)


def _means(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    found: dict[Key, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: fmean(values) for key, values in found.items()}
