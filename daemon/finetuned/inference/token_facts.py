"""
How likely chosen tokens were, and how clearly: ln p and the lead over the best other token.

Knows logits; does not know where the tokens come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from finetuned.inference.pending import PendingAnswer

_WIDENED_LOGITS: Final = 2**24
"""Most logits converted to float32 at a time: 64 MiB."""


def token_facts(
    logits: torch.Tensor, places: Sequence[tuple[int, int, int]]
) -> list[tuple[float, float]]:
    """
    Return ln p of each token, and its lead over the likeliest other one in nats.

    Args:
        logits: (N, T, V), any precision and device; V >= 2.
        places: Row, place in the row, and the token chosen there.
    """
    found: list[tuple[float, float]] = []
    at_once = max(1, _WIDENED_LOGITS // logits.shape[-1])
    for start in range(0, len(places), at_once):
        part = torch.tensor(places[start : start + at_once], device=logits.device)
        rows, columns, tokens = part.unbind(1)
        wide = logits[rows, columns].float()
        own = wide.gather(1, tokens.unsqueeze(1)).squeeze(1)
        best, which = wide.topk(2, -1)
        other = torch.where(which[:, 0] == tokens, best[:, 1], best[:, 0])
        facts = torch.stack([own - wide.logsumexp(-1), own - other], 1)
        found += [(logprob, margin) for logprob, margin in facts.tolist()]
    return found


def note_facts(
    items: Sequence[PendingAnswer], logits: torch.Tensor, places: Sequence[tuple[int, int, int]]
) -> None:
    """
    Count how likely tokens of *items* were; the row of a place is the number of its item.
    """
    for (row, _, _), facts in zip(places, token_facts(logits, places), strict=True):
        items[row].likely.add(*facts)
