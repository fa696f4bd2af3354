"""
Attention of many branches to one shared prefix, all in one sequence and without a mask.

The sequence is the prefix, then the branches one after another. A branch token sees
the whole prefix and its branch up to itself. Both parts are computed apart and
merged by their softmax normalisers; the gradient of each part needs only the merged
output and normaliser (the identity that ring attention uses, arXiv 2310.01889).
Nothing of the prefix is copied per branch. Runs torch's flash kernel for CPU. Does
not know models, rows or losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "finetuned_split"
"""Under this name transformers finds the attention."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class _BranchAttention(torch.autograd.Function):
    """
    Queries (1, H, N * R, D) on a prefix (1, K, P, D) and branches (1, K, N * R, D); K divides H.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        prefix_key: torch.Tensor,
        prefix_value: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        n: int,
    ) -> torch.Tensor:
        groups = query.shape[1] // key.shape[1]
        # All queries of a key head at once: the prefix is read once, not once per branch.
        out_p, norm_p = _flash(
            _by_key_head(query, groups), prefix_key, prefix_value, 0.0, False, scale=scale
        )
        out_b, norm_b = _flash(
            _by_branch(query, n),
            _by_branch(key, n, groups),
            _by_branch(value, n, groups),
            0.0,
            True,
            scale=scale,
        )
        out_p, norm_p = out_p.reshape(query.shape), norm_p.reshape(*query.shape[:3], 1)
        out_b, norm_b = _in_line(out_b), _in_line(norm_b.unsqueeze(-1))
        norm = torch.logaddexp(norm_p, norm_b)
        out: torch.Tensor = out_b.float() * (norm_b - norm).exp_()
        out = out.addcmul_(out_p.float(), (norm_p - norm).exp_()).to(query.dtype)
        ctx.save_for_backward(query, prefix_key, prefix_value, key, value, out, norm)
        ctx.scale, ctx.n = scale, n
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        query, prefix_key, prefix_value, key, value, out, norm = ctx.saved_tensors
        n, groups, grad = ctx.n, query.shape[1] // key.shape[1], grads[0].contiguous()
        d_query, d_prefix_key, d_prefix_value = _flash_backward(
            _by_key_head(grad, groups),
            _by_key_head(query, groups),
            prefix_key,
            prefix_value,
            _by_key_head(out, groups),
            _by_key_head(norm, groups).squeeze(-1),
            0.0,
            False,
            scale=ctx.scale,
        )
        d_query_b, d_key, d_value = _flash_backward(
            _by_branch(grad, n),
            _by_branch(query, n),
            _by_branch(key, n, groups),
            _by_branch(value, n, groups),
            _by_branch(out, n),
            _by_branch(norm, n).squeeze(-1),
            0.0,
            True,
            scale=ctx.scale,
        )
        d_query = d_query.reshape(query.shape) + _in_line(d_query_b)
        d_key, d_value = _in_line(d_key), _in_line(d_value)
        if groups > 1:
            shape = (1, key.shape[1], groups, *key.shape[2:])
            d_key, d_value = d_key.reshape(shape).sum(2), d_value.reshape(shape).sum(2)
        return d_query, d_prefix_key, d_prefix_value, d_key, d_value, None, None


def _by_key_head(x: torch.Tensor, groups: int) -> torch.Tensor:
    """(1, H, L, D) -> (1, K, G * L, D)."""
    return x.reshape(1, x.shape[1] // groups, groups * x.shape[2], x.shape[3])


def _by_branch(x: torch.Tensor, n: int, groups: int = 1) -> torch.Tensor:
    """(1, H, N * R, D) -> (N, H * groups, R, D), a view for groups = 1."""
    x = torch.unflatten(x, 2, (n, -1)).squeeze(0).transpose(0, 1)
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


def _in_line(x: torch.Tensor) -> torch.Tensor:
    """(N, H, R, D) -> (1, H, N * R, D)."""
    return x.transpose(0, 1).flatten(1, 2).unsqueeze(0)


_shape: tuple[int, int] | None = None
"""Tokens of the prefix and number of branches of the sequence that is being computed."""


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    if _shape is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return found
    prefix, n = _shape
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves rotated ones wider
    head, _ = sdpa_attention_forward(
        module,
        query[:, :, :prefix],
        key[:, :, :prefix],
        value[:, :, :prefix],
        None,
        scaling=scaling,
    )
    rest: torch.Tensor = _BranchAttention.apply(  # type: ignore[no-untyped-call]
        query[:, :, prefix:],
        key[:, :, :prefix],
        value[:, :, :prefix],
        key[:, :, prefix:],
        value[:, :, prefix:],
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        n,
    )
    return torch.cat([head, rest.transpose(1, 2)], dim=1), None


AttentionInterface.register(NAME, _attention)


@contextmanager
def split_attention(config: Any, prefix: int = 0, n: int = 0) -> Iterator[None]:
    """
    Let a model of *config* use this attention inside the block.

    transformers builds no mask for it: sequences have to be causal and padded on
    the right only.

    Args:
        config: The model's configuration; put back afterwards.
        prefix: Tokens that the one sequence begins with; 0 for plain rows.
        n: Branches of equal length that follow, each seeing the prefix and itself.
    """
    global _shape
    before = config._attn_implementation
    config._attn_implementation = NAME
    _shape = (prefix, n) if prefix else None
    try:
        yield
    finally:
        _shape = None
        config._attn_implementation = before
