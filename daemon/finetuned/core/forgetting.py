"""
Forgetting over a lineage, from the matrix R of accuracy on each suite after each version.

Pure. Source of the measures: Lopez-Paz and Ranzato, "Gradient Episodic Memory"
(2017) for backward transfer; Chaudhry et al. (2018) for forgetting as the drop
from the best so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SLIPPED: Final = 2.0
"""Points below its best at which a file counts as slipping."""

SLIPPED_FAR: Final = 10.0
"""Points below its best at which it is far gone."""

HELD_FOR: Final = 3
"""Versions in a row without slipping after which a file is rehearsed half as often."""


LEAST_ROWS: Final = 8
"""Rows asked below which an accuracy shows neither slipping nor holding."""


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One version of a lineage and its accuracy.
    """

    version: str
    titles: tuple[str, ...]
    """Files that it was trained on."""
    new: frozenset[str]
    """Suites held out from those files."""
    accuracy: dict[str, float]
    """Suite -> share of right answers, 0 to 1; suites it was not asked are missing."""
    asked: Mapping[str, int] = field(default_factory=dict)
    """Suite -> rows asked; what is not named is taken to be exact."""


@dataclass(frozen=True, slots=True)
class Drop:
    """
    How far the last version is below the best of the lineage on one suite.
    """

    suite: str
    best: float
    now: float

    @property
    def points(self) -> float:
        """In percentage points; below 0 if the last version is the best."""
        return 100 * (self.best - self.now)


def backward_transfer(stages: Sequence[Stage]) -> float | None:
    """
    Return how accuracy on earlier files changed since each was learnt, in points, or None.

    The mean over the suites held out from files before the last version of its
    accuracy now minus the accuracy right after the version that learnt it.
    Negative means forgetting. None if no version precedes the last one.
    """
    if not stages:
        return None
    last, changes = stages[-1].accuracy, []
    for stage in stages[:-1]:
        changes += [
            last[suite] - stage.accuracy[suite]
            for suite in sorted(stage.new)
            if suite in last and suite in stage.accuracy
        ]
    return 100 * sum(changes) / len(changes) if changes else None


def worst_drop(stages: Sequence[Stage]) -> Drop | None:
    """
    Return the suite that the last version is furthest below the best earlier one, or None.
    """
    if not stages:
        return None
    drops = []
    for suite, now in sorted(stages[-1].accuracy.items()):
        before = [s.accuracy[suite] for s in stages[:-1] if suite in s.accuracy]
        if before:
            drops.append(Drop(suite, max(before), now))
    return max(drops, key=lambda drop: drop.points, default=None)


def matrix(stages: Sequence[Stage]) -> tuple[list[str], list[list[float | None]]]:
    """
    Return the suites in the order they appeared, and a row of accuracies per stage.
    """
    suites: list[str] = []
    for stage in stages:
        suites += [s for s in stage.accuracy if s not in suites]
    return suites, [[stage.accuracy.get(suite) for suite in suites] for stage in stages]


def replay_weights(stages: Sequence[Stage]) -> dict[str, float]:
    """
    Return how much oftener than configured a job rehearses the file of each suite.

    Args:
        stages: Of the lineage that the job goes on from, oldest first.

    Returns:
        2 for a suite whose last accuracy is SLIPPED points below its best or more, and more
        than two standard errors of the difference; 4 for SLIPPED_FAR points or more; 1/2 for
        one that was less than SLIPPED points below in the last HELD_FOR versions, the one that
        learnt it not counted; the others are left out: 1. A version that was asked fewer than
        LEAST_ROWS rows of a suite says nothing about it.
    """
    weights = {}
    for suite in sorted({suite for stage in stages for suite in stage.new}):
        learnt = next(i for i, stage in enumerate(stages) if suite in stage.new)
        found = [
            s
            for s in stages[learnt:]
            if suite in s.accuracy and s.asked.get(suite, LEAST_ROWS) >= LEAST_ROWS
        ]
        drops = [_drop(suite, found[:i], found[i]) for i in range(1, len(found))]
        points, chance = drops[-1] if drops else (0.0, 0.0)
        if points >= SLIPPED and points > 2 * chance:
            weights[suite] = 4.0 if points >= SLIPPED_FAR else 2.0
        elif len(drops) >= HELD_FOR and max(drops[-HELD_FOR:])[0] < SLIPPED:
            weights[suite] = 0.5
    return weights


def _drop(suite: str, earlier: Sequence[Stage], now: Stage) -> tuple[float, float]:
    """Return how far *now* is below the best of *earlier*, and the standard error: points."""
    best = max(earlier, key=lambda stage: stage.accuracy[suite])
    variance = sum(
        _variance(stage.accuracy[suite], stage.asked[suite])
        for stage in (best, now)
        if stage.asked.get(suite)
    )
    return 100 * (best.accuracy[suite] - now.accuracy[suite]), 100 * math.sqrt(variance)


def _variance(accuracy: float, asked: int) -> float:
    """
    Return the variance of an accuracy over *asked* rows, also if all or none were right.

    One right and one wrong answer are added, as in Agresti and Coull, "Approximate is better
    than exact for interval estimation of binomial proportions" (1998).
    """
    share = (accuracy * asked + 1) / (asked + 2)
    return share * (1 - share) / (asked + 2)


def second_replay_presentations(presentations: int) -> int:
    """
    Return how often a second try presents earlier rows, after a candidate forgot too much.

    Four times as often, 400 times at least; a job is still half rehearsal at most.

    Args:
        presentations: Of the first try, > 0.
    """
    return max(400, 4 * presentations)
