"""
How surprised a model is by given answers: summed loss over supervised tokens.

Does not know what the rows mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

IGNORED = -100
"""Label of a position that carries no loss, as everywhere in transformers."""


def pad_batch(
    rows: Sequence[tuple[Sequence[int], Sequence[bool]]], pad_token_id: int
) -> dict[str, torch.Tensor]:
    """
    Stack rows of different length into one right-padded micro-batch.

    Args:
        rows: ``(token ids, supervised flags)`` of equal length each. N rows, longest T.
        pad_token_id: Fills the right side; masked out of attention and loss.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64 of shape (N, T).
        A label is the token itself where supervised, else -100; the model shifts.
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
    model: Any, rows: Sequence[tuple[Sequence[int], Sequence[bool]]], pad_token_id: int
) -> list[tuple[float, int]]:
    """
    Return ``(summed loss in nats, supervised tokens)`` of each row, as one batch.

    A supervised token at position 0 has no prediction and does not count.

    Args:
        model: A causal language model in evaluation mode, gradients off.
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
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    counts = (targets != IGNORED).sum(1)
    return [
        (float(nll), int(n)) for nll, n in zip(losses.sum(1).tolist(), counts.tolist(), strict=True)
    ]
