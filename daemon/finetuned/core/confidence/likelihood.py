"""
What a model's own probabilities say of one answer: how likely its tokens were, and how clearly.

Pure; does not know which answers are right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Likelihood:
    """
    The probabilities of one answer's tokens, the one that ended it included, in a few numbers.

    Of the model itself, before any format refused a token: an answer that was held to a
    format against the model's will is unlikely.
    """

    n: int
    """Tokens, >= 1."""
    mean: float
    """Mean of ln p, <= 0."""
    least: float
    """ln p of the least likely token, <= 0."""
    margin: float
    """
    Smallest lead of a token over the best other one, in nats of ln p; below 0 if another one
    was likelier.
    """

    @property
    def probability(self) -> float:
        """Geometric mean of the tokens' probabilities, 0 to 1."""
        return min(1.0, math.exp(self.mean))


@dataclass(slots=True)
class LikelihoodSum:
    """
    The same while an answer grows.
    """

    n: int = 0
    total: float = 0.0
    """Sum of ln p."""
    least: float = 0.0
    margin: float = math.inf

    def add(self, logprob: float, margin: float) -> None:
        """
        Count one more token.

        Args:
            logprob: ln p of the token.
            margin: ln p of it minus that of the likeliest other one.
        """
        self.n += 1
        self.total += logprob
        self.least = min(self.least, logprob)
        self.margin = min(self.margin, margin)

    def likelihood(self) -> Likelihood | None:
        """
        Return the numbers so far; None without a token, or if a model computed no numbers.
        """
        if self.n == 0 or not all(map(math.isfinite, (self.total, self.least, self.margin))):
            return None
        return Likelihood(self.n, min(0.0, self.total / self.n), self.least, self.margin)
