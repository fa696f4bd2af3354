"""
The candidate against the incumbent on the same items: what changed, and how surely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from finetuned.core.evidence import ItemPair, SuiteEvidence
from finetuned.core.statistics import bootstrap_interval, mcnemar, sign_flip


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
    better: int
    """Items that only the candidate got right."""
    worse: int
    """Items that only the incumbent got right."""
    scored: int
    """Items of which both have a loss."""
    gains: tuple[float, ...]
    """Per scored item, how much lower the candidate's loss is, in nats per token of all items."""

    @property
    def accuracy_change(self) -> float:
        """New minus old share of right answers, -1 to 1."""
        return (self.right_now - self.right_before) / self.asked if self.asked else 0.0

    @property
    def loss_gain(self) -> float:
        """Old minus new loss, in nats per token."""
        return math.fsum(self.gains)

    @property
    def loss_rise(self) -> float:
        """New minus old loss, in nats per token; never -0.0."""
        return 0 - self.loss_gain

    def p_better_loss(self) -> float:
        """
        Return the p-value of "the loss is not lower", 0 to 1; 1 if nothing was scored.
        """
        return sign_flip(self.gains) if self.scored else 1.0

    def p_worse_loss(self) -> float:
        """
        Return the p-value of "the loss is not higher", 0 to 1; 1 if nothing was scored.
        """
        return sign_flip([-gain for gain in self.gains]) if self.scored else 1.0

    def p_better_answers(self) -> float:
        """
        Return the p-value of "no more answers are right", 0 to 1; 1 if nothing was asked.
        """
        return mcnemar(self.better, self.worse) if self.asked else 1.0

    def p_worse_answers(self) -> float:
        """
        Return the p-value of "no fewer answers are right", 0 to 1; 1 if nothing was asked.
        """
        return mcnemar(self.worse, self.better) if self.asked else 1.0

    def answers(self) -> str:
        """
        Return the right answers before and now, as a phrase.
        """
        return f"right {self.right_before} -> {self.right_now} of {self.asked}"

    def numbers(self) -> dict[str, float]:
        """
        Return what a report shows of this change; keys of what was not measured are absent.
        """
        found: dict[str, float] = {"items": float(max(self.asked, self.scored))}
        if self.asked:
            signs = [1.0] * self.better + [-1.0] * self.worse
            signs += [0.0] * (self.asked - len(signs))
            low, high = bootstrap_interval(signs)
            found |= {
                "accuracy_change": round(self.accuracy_change, 4),
                "better": self.better,
                "worse": self.worse,
                "accuracy_change_low": round(low, 4),
                "accuracy_change_high": round(high, 4),
            }
        if self.scored:
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
        better=sum(bool(p.candidate_correct and not p.incumbent_correct) for p in asked),
        worse=sum(bool(p.incumbent_correct and not p.candidate_correct) for p in asked),
        scored=len(scored),
        gains=tuple((p.incumbent_loss - p.candidate_loss) / tokens for p in scored),
    )
