"""
Forgetting over a lineage, from the matrix R of accuracy on each suite after each version.

Pure. Source of the measures: Lopez-Paz and Ranzato, "Gradient Episodic Memory"
(2017) for backward transfer; Chaudhry et al. (2018) for forgetting as the drop
from the best so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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


def second_replay_fraction(fraction: float) -> float:
    """
    Return the replay fraction of a second try, after a candidate forgot too much.

    Four times as much, a fifth of the job at least and half of it at most; a fraction that
    is more than half stays.

    Args:
        fraction: That of the first try, > 0 to 0.9.
    """
    return max(fraction, min(0.5, max(0.2, 4 * fraction)))
