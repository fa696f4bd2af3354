"""
The candidate against release or head on the same items: what changed, and how surely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finetuned.core.evidence import ItemPair, SuiteEvidence
from finetuned.core.statistics import (
    bootstrap_interval,
    by_cluster,
    clustered_sign_flip,
    units_to_show,
)

_LEAST_GAIN = 1e-6
"""Share of the spread below which a mean gain is rounding: 10^12 rows would not show it."""


def pairs_of(suites: Iterable[SuiteEvidence], origin: str | None = None) -> list[ItemPair]:
    """
    Return the items of all *suites*, or of those of one origin.
    """
    return [p for s in suites if origin in (None, s.origin) for p in s.pairs]


def was_asked(pair: ItemPair) -> bool:
    """
    Return whether answers were generated for this item, and not only its loss taken.
    """
    return pair.candidate_correct is not None


@dataclass(frozen=True, slots=True)
class Change:
    """
    The difference between candidate and incumbent over some items.
    """

    asked: int
    """Items for which both generated an answer."""
    right_before: int
    right_now: int
    marks: tuple[int, ...]
    """Per asked item: 1 if only the candidate got it right, -1 if only the incumbent, else 0."""
    marked: tuple[str, ...]
    """The cluster of each of these items."""
    gains: tuple[float, ...]
    """Per item of which both have a loss: how much lower the candidate's is, in nats per token
    of all items."""
    scored: tuple[str, ...]
    """The cluster of each of these items."""

    @property
    def accuracy_change(self) -> float:
        """New minus old share of right answers, -1 to 1."""
        return sum(self.marks) / self.asked if self.asked else 0.0

    @property
    def loss_gain(self) -> float:
        """Old minus new loss, in nats per token."""
        return math.fsum(self.gains)

    @property
    def loss_rise(self) -> float:
        """New minus old loss, in nats per token; never -0.0."""
        return 0 - self.loss_gain

    @property
    def n_clusters(self) -> int:
        """Clusters among the items, asked or scored."""
        return max(len(set(self.marked)), len(set(self.scored)))

    def p_better_loss(self) -> float:
        """
        Return the p-value of "the loss is not lower", 0 to 1; 1 if nothing was scored.
        """
        return clustered_sign_flip(self.gains, self.scored) if self.gains else 1.0

    def p_worse_loss(self) -> float:
        """
        Return the p-value of "the loss is not higher", 0 to 1; 1 if nothing was scored.
        """
        if not self.gains:
            return 1.0
        return clustered_sign_flip([-gain for gain in self.gains], self.scored)

    def p_better_answers(self) -> float:
        """
        Return the p-value of "no more answers are right", 0 to 1; 1 if nothing was asked.
        """
        return clustered_sign_flip(self.marks, self.marked) if self.asked else 1.0

    def p_worse_answers(self) -> float:
        """
        Return the p-value of "no fewer answers are right", 0 to 1; 1 if nothing was asked.
        """
        return clustered_sign_flip([-m for m in self.marks], self.marked) if self.asked else 1.0

    def rows_to_show(self, level: float) -> tuple[int, int] | None:
        """
        Return about how many rows, and clusters, would show the gain that is seen, at *level*.

        The smaller number of what answers and losses need, 4 times in 5; None if neither is
        better than before.
        """
        kinds = ((self.marks, self.marked), (self.gains, self.scored))
        found = [_rows_to_show(values, clusters, level) for values, clusters in kinds]
        return min((rows for rows in found if rows is not None), default=None)

    def answers(self) -> str:
        """
        Return the right answers before and now, as a phrase.
        """
        return f"right {self.right_before} -> {self.right_now} of {self.asked}"

    def numbers(self) -> dict[str, float]:
        """
        Return what a report shows of this change; keys of what was not measured are absent.
        """
        items = float(max(self.asked, len(self.gains)))
        found: dict[str, float] = {"items": items, "clusters": self.n_clusters}
        if self.asked:
            low, high = bootstrap_interval(self.marks, self.marked)
            found |= {
                "accuracy_change": round(self.accuracy_change, 4),
                "better": self.marks.count(1),
                "worse": self.marks.count(-1),
                "accuracy_change_low": round(low, 4),
                "accuracy_change_high": round(high, 4),
            }
        if self.gains:
            found["loss_gain"] = round(self.loss_gain, 6)
        return found


def change_over(pairs: Sequence[ItemPair]) -> Change:
    """
    Return the change from incumbent to candidate over *pairs*.
    """
    asked = [p for p in pairs if was_asked(p)]
    scored = [p for p in pairs if p.n_tokens]
    tokens = sum(p.n_tokens for p in scored)
    return Change(
        asked=len(asked),
        right_before=sum(bool(p.incumbent_correct) for p in asked),
        right_now=sum(bool(p.candidate_correct) for p in asked),
        marks=tuple(bool(p.candidate_correct) - bool(p.incumbent_correct) for p in asked),
        marked=tuple(p.cluster for p in asked),
        gains=tuple((p.incumbent_loss - p.candidate_loss) / tokens for p in scored),
        scored=tuple(p.cluster for p in scored),
    )


def _rows_to_show(
    values: Sequence[float], clusters: Sequence[str], level: float
) -> tuple[int, int] | None:
    if not values:
        return None
    sums, _ = by_cluster(values, clusters)
    n = len(sums)
    mean = math.fsum(sums) / n
    spread = math.sqrt(math.fsum((s - mean) ** 2 for s in sums) / max(1, n - 1))
    if mean <= _LEAST_GAIN * spread:  # no gain, or one of rounding
        return None
    needed = units_to_show(mean, spread, level)
    return math.ceil(needed * len(values) / n), needed
