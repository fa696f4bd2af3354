"""
The next token of one answer, from the logits after it.

Greedy answers are chosen for all rows at once by ``likeliest``; the others one by one by a
Sampler. Probabilities that are reported are those of the model itself, before temperature
and cuts. Works on token ids; does not know texts or requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch

from finetuned.core.generation import Sampling

_LARGEST_SEED: Final = 2**63


@dataclass(frozen=True, slots=True)
class Chosen:
    """
    A token and the natural logarithm of its probability, with the likeliest tokens beside it.
    """

    token: int
    logprob: float
    margin: float = math.inf
    """Its lead over the likeliest other token, in nats; below 0 if that one is likelier."""
    refused: bool = False
    """Whether the likeliest token was not allowed."""
    top: tuple[tuple[int, float], ...] = ()
    """As many as were asked for, the likeliest first."""


def likeliest(logits: torch.Tensor) -> list[list[Chosen]]:
    """
    Return the likeliest token at each place.

    Args:
        logits: (N, Q, V), any precision; V >= 2.
    """
    best, tokens = logits.max(-1)
    lead = best.float() - logits.topk(2, -1).values[..., 1].float()
    logprobs = best.float() - logits.float().logsumexp(-1)
    return [
        [Chosen(token, logprob, margin) for token, logprob, margin in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), logprobs.tolist(), lead.tolist(), strict=True)
    ]


class Sampler:
    """
    The choices of one answer.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed % _LARGEST_SEED)

    def choose(self, logits: torch.Tensor, allowed: torch.Tensor | None = None) -> Chosen:
        """
        Choose a token.

        Args:
            logits: (V,), any precision and device.
            allowed: (V,) of bool; None allows all.
        """
        logits = logits.float().cpu()
        logprobs = logits.log_softmax(-1)
        refused = False
        if allowed is not None:
            refused = not bool(allowed[logits.argmax()])
            logits = logits.masked_fill(~allowed, -torch.inf)
        token = self._draw(logits)
        best, places = logprobs.topk(2)
        other = best[1] if int(places[0]) == token else best[0]
        logprob = logprobs[token]
        return Chosen(token, float(logprob), float(logprob - other), refused, self._top(logprobs))

    def _draw(self, logits: torch.Tensor) -> int:
        """(V,) -> the token."""
        if self._sampling.temperature == 0:
            return int(logits.argmax())
        values, tokens = (logits / self._sampling.temperature).sort(descending=True, stable=True)
        if self._sampling.top_k:
            values, tokens = values[: self._sampling.top_k], tokens[: self._sampling.top_k]
        shares = values.softmax(-1)
        # The token that crosses the border is kept, so that at least one is.
        shares[shares.cumsum(-1) - shares >= self._sampling.top_p] = 0
        return int(tokens[torch.multinomial(shares, 1, generator=self._random)])

    def _top(self, logprobs: torch.Tensor) -> tuple[tuple[int, float], ...]:
        """(V,) -> tokens and values of the likeliest."""
        if not self._sampling.top_logprobs:
            return ()
        values, tokens = logprobs.topk(min(self._sampling.top_logprobs, len(logprobs)))
        return tuple(zip(tokens.tolist(), values.tolist(), strict=True))
