"""
What a file was worth: what its training changed, how surely, and whether it was needed.

Pure. Counts of right answers in, changes in percentage points with intervals out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from finetuned.core.evidence import SuiteEvidence
from finetuned.core.forgetting import LEAST_ROWS
from finetuned.core.gate.change import change_over
from finetuned.core.metrics import wilson_interval
from finetuned.core.statistics import bootstrap_interval

ALREADY_RIGHT: Final = 0.9
"""
A file was hardly needed if at least this share of its held-out rows was answered right before,
by the lower bound of the interval.
"""

REPEATED: Final = 0.5
"""Share of near rows from which on a file counts as a repetition, if its rows were right before."""

HALF: Final = 0.5
"""Nothing was learnt of a file if surely less than this share of its rows is right afterwards."""


@dataclass(frozen=True, slots=True)
class Effect:
    """
    What a training changed on one suite. Points are percentage points of right answers.
    """

    suite: str
    title: str
    origin: str
    asked: int
    """Questions that both models were asked."""
    before: float
    """Share of right answers of the model that was trained on, 0 to 1."""
    after: float
    low: float
    """Of the interval of the change, in points."""
    high: float
    paired: bool
    """Whether it is from the same questions one by one; else from the counts alone."""

    @property
    def points(self) -> float:
        """The change."""
        return 100 * (self.after - self.before)

    @property
    def shown(self) -> bool:
        """Whether a change is shown: the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Right:
    """
    How many of some questions were answered right.
    """

    right: int
    asked: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the share, 0 to 1; of no question it is all of that."""
        return wilson_interval(self.right, self.asked) if self.asked else (0.0, 1.0)


def effect_of_pairs(suite: SuiteEvidence) -> Effect | None:
    """
    Return what changed on a suite, from the answers to the same questions; None if none was asked.

    The interval is a bootstrap by cluster, as the gate's. If every cluster changed alike, a
    bootstrap sees no spread at all, and the interval is that of the counts.
    """
    change = change_over(suite.pairs)
    if not change.asked:
        return None
    low, high = bootstrap_interval(change.marks, change.marked)
    if low == high:
        before, after = (Right(n, change.asked) for n in (change.right_before, change.right_now))
        return effect_of_counts(suite.name, suite.title, suite.origin, before=before, after=after)
    return Effect(
        suite=suite.name,
        title=suite.title,
        origin=suite.origin,
        asked=change.asked,
        before=change.right_before / change.asked,
        after=change.right_now / change.asked,
        low=100 * low,
        high=100 * high,
        paired=True,
    )


def effect_of_counts(
    suite: str, title: str, origin: str, *, before: Right, after: Right
) -> Effect | None:
    """
    Return what changed on a suite, from counts; None if one of both was asked nothing.

    The interval is wider than that of pairs: it does not know that the questions are the same.

    Source:
        Newcombe, Statistics in Medicine 17 (1998), method 10: the interval of a difference of
        two shares from the Wilson interval of each.
    """
    if not before.asked or not after.asked:
        return None
    old, new = before.right / before.asked, after.right / after.asked
    (old_low, old_high), (new_low, new_high) = before.interval, after.interval
    change = new - old
    low = change - math.hypot(new - new_low, old_high - old)
    high = change + math.hypot(new_high - new, old - old_low)
    asked = min(before.asked, after.asked)
    return Effect(suite, title, origin, asked, old, new, 100 * low, 100 * high, paired=False)


class Worth(StrEnum):
    """
    Whether the training of a file paid, as far as it is shown.
    """

    GAIN = "gain"
    HARM = "harm"
    KNOWN = "known already"
    NOTHING = "nothing learnt"
    UNSURE = "not shown"


def worth_of(own: Effect, *, near: float | None) -> Worth:
    """
    Return whether a file paid.

    Args:
        own: What its training changed on its own held-out rows.
        near: Share of its rows that are nearly rows that came before, 0 to 1; None: not known.
    """
    if own.shown:
        return Worth.GAIN if own.low > 0 else Worth.HARM
    if _known(Right(round(own.before * own.asked), own.asked), near):
        return Worth.KNOWN
    _, high = Right(round(own.after * own.asked), own.asked).interval
    return Worth.NOTHING if own.asked >= LEAST_ROWS and high < HALF else Worth.UNSURE


def _known(before: Right, near: float | None) -> bool:
    """Return whether a file's rows were known, by the counts or by its near rows beside them."""
    # Few held-out rows show little alone; that most rows came before is evidence beside them.
    repeated = near is not None and near >= REPEATED
    return before.interval[0] >= ALREADY_RIGHT or (
        repeated and before.right >= ALREADY_RIGHT * before.asked
    )


def needed(before: Right, near: float | None = None) -> str:
    """
    Return, as a sentence without its full stop, whether a file was needed.

    Args:
        before: Its held-out rows, as the model that was trained on answered them.
        near: As for worth_of().
    """
    if not before.asked:
        return "whether it was needed is not known: none of its rows was asked before"
    low, high = before.interval
    seen = (
        f"{before.right} of {before.asked} held-out rows were answered right before"
        f" ({100 * low:.0f}-{100 * high:.0f}%)"
    )
    if _known(before, near):
        beside = (
            "" if not near or low >= ALREADY_RIGHT else f", and {near:.0%} of its rows are near"
        )
        return f"it was hardly needed: {seen}{beside}"
    if high < ALREADY_RIGHT:
        return f"there was something to learn in it: {seen}"
    return f"whether it was needed is not shown: {seen}"


def mean_accuracy(scores: Sequence[Right]) -> float | None:
    """
    Return the mean over suites of the share of right answers, 0 to 1; None if none was asked.
    """
    shares = [score.right / score.asked for score in scores if score.asked]
    return math.fsum(shares) / len(shares) if shares else None
