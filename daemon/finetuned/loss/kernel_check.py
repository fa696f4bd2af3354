"""
Whether a way of computing the loss is right: its loss and gradients against the model's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from finetuned.loss.micro_batch import MIN_SHARED, MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM

TOLERANCE: Final = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""
Largest relative difference of loss and gradients that counts as rounding. A wrong mask or
a wrong position gives a difference of the order of 1.
"""

_CHECK_ROWS: Final = 3
CHECKED_TOKENS: Final = 2 * _CHECK_ROWS * (2 * MIN_SHARED + 11)
"""Tokens that a check computes, about: these rows twice."""

_CHECK_PARAMETERS: Final = 8
"""Parameters whose gradients are compared, about."""


def refusal(model: SupervisedLM, kernels: Kernels) -> str | None:
    """
    Return why *kernels* cannot be used for this model, or None if they can.

    Compares the loss and the gradients of some parameters with the model's own, on rows
    that share a beginning and differ in length.
    """
    if kernels.prefix == "stock":
        return None
    rows = _check_rows(int(model.lm.config.get_text_config().vocab_size))
    limit = TOLERANCE[torch.float32]
    if any(p.dtype == torch.bfloat16 for p in model.parameters()):
        limit = TOLERANCE[torch.bfloat16]
    was_training = model.training
    model.eval()  # without dropout both ways must agree
    try:
        expected = _loss_and_gradients(model, Kernels("stock", kernels.attention), rows)
        found = _loss_and_gradients(model, kernels, rows)
    except Exception as error:  # a kernel that fails here would fail in every step
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        model.train(was_training)
    for name, want, got in zip(("loss", "gradient"), expected, found, strict=True):
        difference = float((want - got).norm() / want.norm().clamp_min(1e-20))
        if not difference <= limit:
            return f"{name} differs by {difference:.2g}, at most {limit:g} is rounding"
    return None


def _check_rows(vocabulary: int) -> list[MaskedTokens]:
    """Return the same few rows on every call."""
    rng = np.random.Generator(np.random.PCG64(0))
    prefix = rng.integers(0, vocabulary, 2 * MIN_SHARED)
    rows: list[MaskedTokens] = []
    for i in range(_CHECK_ROWS):
        ids = np.concatenate([prefix, rng.integers(0, vocabulary, 8 + 3 * i)])
        supervised = np.arange(len(ids)) >= len(prefix) + 3
        rows.append((ids.tolist(), supervised.tolist()))
    return rows


def _loss_and_gradients(
    model: SupervisedLM, kernels: Kernels, rows: Sequence[MaskedTokens]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, (1,), and the gradients of some parameters in one flat tensor."""
    model.kernels, model.autocast = kernels, None
    trained = [p for p in model.parameters() if p.requires_grad]
    some = trained[:: max(1, len(trained) // _CHECK_PARAMETERS)]
    loss = model(rows)
    gradients = torch.autograd.grad(loss, some, allow_unused=True)
    flat = [g.float().flatten() for g in gradients if g is not None]
    return loss.detach().reshape(1), torch.cat(flat) if flat else loss.detach().reshape(1)
