"""
How surprised a model is by given answers: summed loss over supervised tokens.

Does not know what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch

from finetuned.inference.prompt_cache import CachedLM, Prefill, Prefix, answering

_T = TypeVar("_T")

IGNORED = -100
"""Label of a position that carries no loss, as everywhere in transformers."""

MAX_LOGITS = 2**27
"""Most logits that a pass may leave: 512 MiB of float32."""

_AT_ONCE = 2**24
"""Most logits widened to float32 at a time: 64 MiB."""


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
        logits: (N, T, V): at place j of a row, what predicts token j of its continuation.
        continuations: ``(token id, supervised)`` each, at most T. Length N.
    """
    places = [
        (i, j, token)
        for i, continuation in enumerate(continuations)
        for j, (token, supervised) in enumerate(continuation)
        if supervised
    ]
    sums, counts = [0.0] * len(continuations), [0] * len(continuations)
    for part in _chunks(places, max(1, _AT_ONCE // logits.shape[-1])):
        rows, columns, targets = torch.tensor(part, device=logits.device).unbind(1)
        losses = torch.nn.functional.cross_entropy(
            logits[rows, columns].float(), targets, reduction="none"
        )
        for (i, _, _), nll in zip(part, losses.tolist(), strict=True):
            sums[i] += nll
            counts[i] += 1
    return list(zip(sums, counts, strict=True))


def choice_scores(
    model: Any,
    prompt: Sequence[int],
    choices: Sequence[Sequence[int]],
    pad_token_id: int,
    *,
    batch_size: int = 32,
) -> list[tuple[float, int]]:
    """
    Return ``(summed log-likelihood in nats, tokens)`` of each choice, given *prompt*.

    What the choices have in common, the prompt, is run once. An empty choice has (0.0, 0).

    Args:
        model: A causal language model; left in the mode it was in.
        prompt: Token ids, not empty.
        choices: Token ids each, any number of choices.
        pad_token_id: Fills what is masked.
        batch_size: Choices run together, >= 1.
    """
    found: list[tuple[float, int]] = []
    with answering(model):
        lm = CachedLM(model)
        exact = lm.is_exact(prompt[0])
        prefix = Prefix(lm, [prompt] * len(choices)) if exact else None
        longest = max((len(c) for c in choices), default=0) + (0 if exact else len(prompt))
        at_once = max(1, min(batch_size, MAX_LOGITS // (lm.vocabulary * max(1, longest))))
        for part in _chunks(choices, at_once):
            if prefix is None:
                rows = [([*prompt, *c], [False] * len(prompt) + [True] * len(c)) for c in part]
                found += summed_loss(model, rows, pad_token_id)
                continue
            made = Prefill(lm, prefix, [prompt] * len(part), part, pad_token_id)
            found += continuation_losses(made.logits, [[(t, True) for t in c] for c in part])
    return [(0.0 - nll, n) for nll, n in found]


def _chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
