"""
How likely chosen tokens were, and how clearly: ln p and the lead over the best other token.

Knows logits; does not know where the tokens come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

import torch

from finetuned.inference.pending import PendingAnswer

_WIDENED_LOGITS: Final = 2**24
"""Most logits converted to float32 at a time: 64 MiB."""


Place = tuple[int, int, int]
"""Row of the logits, place in the row, and the token chosen there."""


def token_facts(logits: torch.Tensor, places: Sequence[Place]) -> list[tuple[float, float]]:
    """
    Return ln p of each token, and its lead over the likeliest other one in nats.

    Args:
        logits: (N, T, V), any precision and device; V >= 2.
        places: Of the tokens.
    """
    found: list[tuple[float, float]] = []
    at_once = max(1, _WIDENED_LOGITS // logits.shape[-1])
    for start in range(0, len(places), at_once):
        part = torch.tensor(places[start : start + at_once], device=logits.device)
        rows, columns, tokens = part.unbind(1)
        # As cross_entropy() computes it, so that a loss is the same to the last bit.
        logprobs = logits[rows, columns].float().log_softmax(-1)
        own = logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)
        best, which = logprobs.topk(2, -1)
        other = torch.where(which[:, 0] == tokens, best[:, 1], best[:, 0])
        facts = torch.stack([own, own - other], 1)
        found += [(logprob, margin) for logprob, margin in facts.tolist()]
    return found


def note_facts(
    items: Sequence[PendingAnswer], logits: torch.Tensor, places: Sequence[Place]
) -> None:
    """
    Count how likely tokens of *items* were; the row of a place is the number of its item.
    """
    for (row, _, _), facts in zip(places, token_facts(logits, places), strict=True):
        items[row].likely.add(*facts)


def note_scoring(items: Sequence[PendingAnswer], logits: torch.Tensor) -> None:
    """
    Note the loss of each continuation, and how likely the tokens were that were taken along it.

    Most of them are the same tokens at the same places: they are looked at once.

    Args:
        items: After accept(). Length N.
        logits: (N, T, V): at place j of a row, the prediction of token j of its continuation.
    """
    supervised = [
        [(i, j, t) for j, (t, is_supervised) in enumerate(item.continuation) if is_supervised]
        for i, item in enumerate(items)
    ]
    taken = [[(i, j, t) for j, t in enumerate(item.taken)] for i, item in enumerate(items)]
    places = list(dict.fromkeys(chain(*supervised, *taken)))
    facts = dict(zip(places, token_facts(logits, places), strict=True))
    for item, scored, chosen in zip(items, supervised, taken, strict=True):
        item.loss = (sum((-facts[place][0] for place in scored), 0.0), len(scored))
        for place in chosen:
            item.likely.add(*facts[place])
