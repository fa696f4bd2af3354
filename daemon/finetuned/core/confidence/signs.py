"""
The signs from which the confidence in an answer is read, as numbers of about the same size.

Each is known when an answer ends, in an evaluation as in the service. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from finetuned.core.confidence.likelihood import Likelihood

NAMES: Final = ("whole", "mean", "least", "margin", "refused", "ended", "invented")
"""The order of the numbers that signs_of() returns."""

_FURTHEST: Final = 12.0
"""
Log-odds and margins are cut here: beyond e^12 to 1, float32 says nothing of a probability.
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """
    What is known of an answer when it ends, beside its text.
    """

    likelihood: Likelihood
    n_refused: int
    """Tokens that the model preferred and the answer's format refused: where constrained and
    free decoding do not agree."""
    stopped: bool
    """Whether the model ended it; if not, it was cut."""
    invented: bool = False
    """Whether a value that its format says is copied does not stand in the prompt."""


def signs_of(ending: Ending) -> tuple[float, ...]:
    """
    Return the numbers, in the order of NAMES.

    ``whole``, ``mean`` and ``least``: log-odds of the probability of all tokens together, of
    their geometric mean, and of the least likely one. ``margin``: the smallest lead, in nats.
    ``refused``: ln of 1 and the refused tokens. ``ended`` and ``invented``: 1 or 0.
    """
    found = ending.likelihood
    return (
        _odds(found.mean * found.n),
        _odds(found.mean),
        _odds(found.least),
        max(-_FURTHEST, min(_FURTHEST, found.margin)),
        math.log1p(ending.n_refused),
        float(ending.stopped),
        float(ending.invented),
    )


def _odds(logprob: float) -> float:
    """Return ln(p / (1 - p)) of ln p, cut to +-_FURTHEST."""
    if logprob <= -_FURTHEST:
        return -_FURTHEST
    rest = -math.expm1(logprob)  # 1 - p, exactly also near 1
    return _FURTHEST if rest <= 0 else max(-_FURTHEST, min(_FURTHEST, logprob - math.log(rest)))
