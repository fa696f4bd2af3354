"""
The difference of two models on the same items, and how surely there is one.

Pure; does not know which difference decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finetuned.core.statistics import mcnemar, sign_flip
from finetuned.evaluation.measured import Measured

Pair = tuple[Measured, Measured]
"""Models a and b on one suite."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    Model b against model a on the items that both were asked.
    """

    signs: list[int]
    """Per answered item: 1 if only b is right, -1 if only a is, else 0."""
    losses: list[float]
    """Per scored item: loss of b minus that of a, summed over the answer, in nats."""
    delta_loss: float | None
    """Mean of the losses per token or per answer; None if nothing is scored."""
    loss_unit: str
    p_answers: float | None
    """Two-sided p-value of the answers; None if nothing is answered."""
    p_losses: float | None
    """Two-sided p-value of the losses; None if nothing is scored."""

    @property
    def only(self) -> tuple[int, int]:
        """Number of items that only a, and only b, has right."""
        return self.signs.count(-1), self.signs.count(1)


def change_of(pair: Pair) -> Change:
    """
    Compare two models on one suite, item by item.
    """
    one, other = pair
    both = [
        (one.outcomes[i], other.outcomes[i])
        for i in (q.id for q in one.suite.questions)
        if i in one.outcomes and i in other.outcomes
    ]
    signs = [
        int(bool(y.correct)) - int(bool(x.correct))
        for x, y in both
        if x.correct is not None and y.correct is not None
    ]
    scored = [(x, y) for x, y in both if x.n_tokens and y.n_tokens]
    losses = [y.loss_sum - x.loss_sum for x, y in scored]
    # Losses per token cannot be compared if two tokenizers cut an answer differently.
    alike = all(x.n_tokens == y.n_tokens for x, y in scored)
    parts = sum(x.n_tokens for x, _ in scored) if alike else len(scored)
    return Change(
        signs=signs,
        losses=losses,
        delta_loss=math.fsum(losses) / parts if parts else None,
        loss_unit="nats per token" if alike else "nats per answer",
        p_answers=_two_sided_mcnemar(signs.count(-1), signs.count(1)) if signs else None,
        p_losses=_two_sided_flip(losses) if losses else None,
    )


def _two_sided_mcnemar(one: int, other: int) -> float:
    return min(1.0, 2 * mcnemar(max(one, other), min(one, other)))


def _two_sided_flip(differences: Sequence[float]) -> float:
    p = min(sign_flip(differences), sign_flip([-d for d in differences]))
    return min(1.0, 2 * p)
