"""
Whether an exported model says what the version says: rendering, token ids, answers, accuracy.

Pure: what both did with each item comes in, a verdict and the first divergence go out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Final

from finetuned.core.export.request import Quant

LIMITS: Final = {
    Quant.NONE: 1.0,
    Quant.Q8_0: 1.0,
    Quant.INT8: 1.0,
    Quant.Q5_K_M: 2.0,
    Quant.Q4_K_M: 2.0,
    Quant.INT4: 2.0,
    Quant.NF4: 2.0,
}
"""Most points of accuracy that an export in this precision may lose."""

CONFIDENCE: Final = 0.95

LEAST_RIGHT: Final = 30
"""Right answers that the version must have: one that has none can lose none, and shows nothing."""

_SHOWN: Final = 60
"""Characters, or 12 times fewer ids, of a divergence that are shown."""


class Stage(StrEnum):
    """
    Where two models part, in the order in which it is looked for.
    """

    RENDERING = "rendering"  # the text that the template makes of the conversation
    IDS = "ids"  # the token ids of that text
    ANSWER = "answer"  # the tokens of the greedy answer


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What version and export did with one item.
    """

    suite: str
    item: str
    texts: tuple[str, str]
    """The rendered prompt: of the version, of the export."""
    prompts: tuple[Sequence[int], Sequence[int]]
    """Its token ids."""
    answers: tuple[Sequence[int], Sequence[int]]
    """The token ids of the greedy answers, without a stop token."""
    correct: tuple[bool | None, bool | None]
    """Their marks; None if the item is not marked."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """
    The first place at which an export parts from the version.
    """

    stage: Stage
    suite: str
    item: str
    position: int
    """Of a character in the rendering, or of a token; the first is 0."""
    expected: str
    """What the version has from there on, shortened."""
    found: str
    """What the export has."""

    def sentence(self) -> str:
        """
        Return it for people.
        """
        unit = "character" if self.stage is Stage.RENDERING else "token"
        return (
            f"{self.stage} differs at {unit} {self.position} of {self.suite}/{self.item}: "
            f"the version has {self.expected}, the export {self.found}"
        )


@dataclass(frozen=True, slots=True)
class Parity:
    """
    How an export compares with the version on the same items.
    """

    n_items: int
    same_rendering: int
    """Items whose prompt is rendered to the same text."""
    same_ids: int
    """Items whose prompt has the same token ids."""
    same_answers: int
    """Items that are answered with the same token ids."""
    first: Divergence | None
    n_marked: int
    """Items whose answers are marked right or wrong."""
    right: tuple[int, int]
    """Of those, right by version and export."""
    lost: int
    """Items that only the version has right."""
    gained: int
    limit_points: float
    """Most points that may be lost."""
    bound_points: float | None
    """Upper 95% bound of the points lost; None if nothing is marked."""
    passed: bool
    reason: str


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """
    Return the first position at which two sequences differ, None if they are equal.
    """
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return None if len(one) == len(other) else min(len(one), len(other))


def divergence_of(asked: Asked) -> Divergence | None:
    """
    Return where the export parts from the version on one item, None if it does not.
    """
    pairs: tuple[tuple[Stage, tuple[Sequence[object], Sequence[object]]], ...] = (
        (Stage.RENDERING, asked.texts),
        (Stage.IDS, asked.prompts),
        (Stage.ANSWER, asked.answers),
    )
    for stage, (one, other) in pairs:
        at = first_difference(one, other)
        if at is not None:
            return Divergence(stage, asked.suite, asked.item, at, _part(one, at), _part(other, at))
    return None


def judge(items: Sequence[Asked], quant: Quant) -> Parity:
    """
    Compare an export with the version.

    It passes if the upper bound of what it loses is within the limit of its precision: items
    that are too few show nothing, and what is not shown does not pass.
    """
    found = [d for d in map(divergence_of, items) if d is not None]
    order = list(Stage)
    marked = [i for i in items if i.correct[0] is not None and i.correct[1] is not None]
    lost = sum(bool(i.correct[0]) and not i.correct[1] for i in marked)
    gained = sum(bool(i.correct[1]) and not i.correct[0] for i in marked)
    limit = LIMITS[quant]
    bound = lost_bound(lost, gained, len(marked)) if marked else None
    right = sum(bool(i.correct[0]) for i in marked)
    passed = bound is not None and bound <= limit and right >= LEAST_RIGHT
    return Parity(
        n_items=len(items),
        same_rendering=sum(i.texts[0] == i.texts[1] for i in items),
        same_ids=sum(list(i.prompts[0]) == list(i.prompts[1]) for i in items),
        same_answers=sum(list(i.answers[0]) == list(i.answers[1]) for i in items),
        first=min(found, key=lambda d: order.index(d.stage), default=None),
        n_marked=len(marked),
        right=(right, sum(bool(i.correct[1]) for i in marked)),
        lost=lost,
        gained=gained,
        limit_points=limit,
        bound_points=bound,
        passed=passed,
        reason=_too_few_right(right, len(marked))
        or _reason(lost, gained, len(marked), limit, bound),
    )


def lost_bound(lost: int, gained: int, n: int, confidence: float = CONFIDENCE) -> float:
    """
    Return the one-sided upper bound of the points of accuracy that were lost.

    Args:
        lost: Items that only the first model has right.
        gained: Items that only the second has right.
        n: Items in all, > 0.
        confidence: 0.5 to 1, exclusive.

    Returns:
        -100 to 100, in points. 163 items without a difference are the least that show 1 point.

    Source:
        Agresti and Min, Statistics in Medicine 24 (2005): Wald's interval for the difference
        of paired proportions after half an item is added to each of the four counts.
    """
    size, worse, better = n + 2, lost + 0.5, gained + 0.5
    difference = (worse - better) / size
    spread = math.sqrt(worse + better - (worse - better) ** 2 / size) / size
    return 100.0 * (difference + NormalDist().inv_cdf(confidence) * spread)


def items_needed(limit_points: float) -> int:
    """
    Return the least number of items that show a limit if none of them differs.
    """
    n = 1
    while lost_bound(0, 0, n) > limit_points:
        n += 1
    return n


def _too_few_right(right: int, n: int) -> str:
    """Return the reason why the version's own answers show nothing, empty if they may."""
    if n == 0 or right >= LEAST_RIGHT or n < LEAST_RIGHT:
        return ""
    return (
        f"the version has only {right} of {n} items right, so accuracy shows nothing: "
        f"{LEAST_RIGHT} right answers are the least; export a version that was trained for a suite "
        "of benchmarks/, or add a suite of what this one can do"
    )


def _reason(lost: int, gained: int, n: int, limit: float, bound: float | None) -> str:
    if bound is None:
        return "no item is marked right or wrong, so nothing is shown; add a suite to benchmarks/"
    points = 100.0 * (lost - gained) / n
    facts = f"{lost} lost and {gained} gained of {n} items: at most {bound:.2f} points are lost"
    if bound <= limit:
        return f"{facts} (95%), {limit:g} are allowed"
    if points > limit:
        return f"{points:.2f} points of accuracy are lost, {limit:g} are allowed ({facts}, 95%)"
    return (
        f"too few items to show that at most {limit:g} points are lost: {facts} (95%); "
        f"{items_needed(limit)} items without a difference would show it"
    )


def _part(values: Sequence[object], at: int) -> str:
    if isinstance(values, str):
        return repr(values[at : at + _SHOWN])
    shown = list(values[at : at + _SHOWN // 12])
    return f"{shown}" if shown else "nothing more"
