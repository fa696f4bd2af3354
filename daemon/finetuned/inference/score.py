"""
The summed loss of a model on supervised tokens.

Does not know what the sequences mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from finetuned.loss.micro_batch import MaskedTokens
from finetuned.model.types import LanguageModel

IGNORED: Final = -100
"""Label of a position without loss, as everywhere in transformers."""

_WIDENED_LOGITS: Final = 2**24
"""Most logits converted to float32 at a time: 64 MiB."""


def pad_batch(rows: Sequence[MaskedTokens], pad_token_id: int) -> dict[str, torch.Tensor]:
    """
    Stack sequences of different length into one right-padded batch.

    Args:
        rows: N sequences, the longest of T tokens.
        pad_token_id: Fills the right side; masked out of attention and loss.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64 of shape (N, T).
        A label is the token itself if it is supervised, else -100; the model shifts them.
    """
    width = max(len(ids) for ids, _ in rows)
    input_ids = torch.full((len(rows), width), pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for i, (ids, supervised) in enumerate(rows):
        tokens = torch.as_tensor(ids, dtype=torch.long)
        keep = torch.as_tensor(supervised, dtype=torch.bool)
        input_ids[i, : len(tokens)] = tokens
        attention_mask[i, : len(tokens)] = 1
        labels[i, : len(tokens)] = tokens.masked_fill(~keep, IGNORED)
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


def summed_loss(
    model: LanguageModel, rows: Sequence[MaskedTokens], pad_token_id: int
) -> list[tuple[float, int]]:
    """
    Return ``(summed loss in nats, supervised tokens)`` of each sequence, run as one batch.

    A supervised token at position 0 has no prediction and does not count.

    Args:
        model: In evaluation mode, gradients off.
        rows: As for pad_batch. Length N.
        pad_token_id: As for pad_batch.
    """
    batch = pad_batch(rows, pad_token_id)
    device = next(model.parameters()).device
    logits = model(
        input_ids=batch["input_ids"].to(device),
        attention_mask=batch["attention_mask"].to(device),
        use_cache=False,
    ).logits
    targets = batch["labels"][:, 1:].to(device)
    # Vocabulary last: torch sums over it more exactly there than across a transposed tensor.
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        targets.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    ).view_as(targets)
    counts = (targets != IGNORED).sum(1)
    return [
        (float(nll), int(n)) for nll, n in zip(losses.sum(1).tolist(), counts.tolist(), strict=True)
    ]


def continuation_losses(
    logits: torch.Tensor, continuations: Sequence[Sequence[tuple[int, bool]]]
) -> list[tuple[float, int]]:
    """
    Return ``(summed loss in nats, supervised tokens)`` of each continuation.

    Args:
        logits: (N, T, V): at place j of a row, the prediction of token j of its continuation.
        continuations: ``(token id, supervised)`` each, at most T. Length N.
    """
    places = [
        (i, j, token)
        for i, continuation in enumerate(continuations)
        for j, (token, supervised) in enumerate(continuation)
        if supervised
    ]
    sums, counts = [0.0] * len(continuations), [0] * len(continuations)
    at_once = max(1, _WIDENED_LOGITS // logits.shape[-1])
    for start in range(0, len(places), at_once):
        part = places[start : start + at_once]
        rows, columns, targets = torch.tensor(part, device=logits.device).unbind(1)
        losses = torch.nn.functional.cross_entropy(
            logits[rows, columns].float(), targets, reduction="none"
        )
        for (i, _, _), nll in zip(part, losses.tolist(), strict=True):
            sums[i] += nll
            counts[i] += 1
    return list(zip(sums, counts, strict=True))
