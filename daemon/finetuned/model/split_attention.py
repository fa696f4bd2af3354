"""
Attention of many branches to one shared prefix, without a copy of the prefix for each.

A branch token sees the whole prefix and the branch up to itself. Both parts
are computed apart and merged by their softmax normalisers; the gradient of
each part needs only the merged output and normaliser (the identity that ring
attention uses, arXiv 2310.01889). Runs torch's flash kernel for CPU. Does not
know models, rows or losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "finetuned_split"
"""Under this name transformers finds the attention."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class _SplitAttention(torch.autograd.Function):
    """
    Queries (N, H, R, D) against a prefix (1, K, P, D) and branches (N, K, R, D); K divides H.
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
    ) -> torch.Tensor:
        n, heads, length, _ = query.shape
        groups = heads // key.shape[1]
        key_full = key.repeat_interleave(groups, dim=1)
        value_full = value.repeat_interleave(groups, dim=1)
        flat = _to_prefix(query, groups)
        out_p, norm_p = _flash(flat, prefix_key, prefix_value, 0.0, False, scale=scale)
        out_b, norm_b = _flash(query, key_full, value_full, 0.0, True, scale=scale)
        out_p = _from_prefix(out_p, n, heads, length)
        norm_p = _from_prefix(norm_p.unsqueeze(-1), n, heads, length)
        norm_b = norm_b.unsqueeze(-1)
        norm = torch.logaddexp(norm_p, norm_b)
        out: torch.Tensor = (
            out_b.float() * (norm_b - norm).exp_() + out_p.float() * (norm_p - norm).exp_()
        )
        out = out.to(query.dtype)
        ctx.save_for_backward(
            query, prefix_key, prefix_value, key_full, value_full, out, norm.squeeze(-1)
        )
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        query, prefix_key, prefix_value, key_full, value_full, out, norm = ctx.saved_tensors
        n, heads, length, width = query.shape
        kv_heads = prefix_key.shape[1]
        groups = heads // kv_heads
        grad = grads[0].contiguous()
        d_query_p, d_prefix_key, d_prefix_value = _flash_backward(
            _to_prefix(grad, groups),
            _to_prefix(query, groups),
            prefix_key,
            prefix_value,
            _to_prefix(out, groups),
            _to_prefix(norm.unsqueeze(-1), groups).squeeze(-1),
            0.0,
            False,
            scale=ctx.scale,
        )
        d_query, d_key, d_value = _flash_backward(
            grad, query, key_full, value_full, out, norm, 0.0, True, scale=ctx.scale
        )
        d_query = d_query + _from_prefix(d_query_p, n, heads, length)
        d_key = d_key.reshape(n, kv_heads, groups, length, width).sum(2)
        d_value = d_value.reshape(n, kv_heads, groups, length, width).sum(2)
        return d_query, d_prefix_key, d_prefix_value, d_key, d_value, None


def _to_prefix(x: torch.Tensor, groups: int) -> torch.Tensor:
    """(N, H, R, D) -> (1, K, G * N * R, D): all queries of a key head, one after another."""
    n, heads, length, width = x.shape
    kv_heads = heads // groups
    grouped = x.reshape(n, kv_heads, groups, length, width).permute(1, 2, 0, 3, 4)
    return grouped.reshape(1, kv_heads, groups * n * length, width)


def _from_prefix(x: torch.Tensor, n: int, heads: int, length: int) -> torch.Tensor:
    """Undo _to_prefix."""
    kv_heads, width = x.shape[1], x.shape[-1]
    grouped = x.reshape(kv_heads, heads // kv_heads, n, length, width).permute(2, 0, 1, 3, 4)
    return grouped.reshape(n, heads, length, width)


class BranchCache(DynamicCache):  # type: ignore[misc]
    """
    The cache that branches meet: it says how long the prefix is and returns their own keys only.
    """

    def __init__(self, prefix: DynamicCache) -> None:
        super().__init__()
        self.prefix = prefix

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Return the branches' own keys and values; the prefix's are read by the attention.
        """
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """
        Return the prefix's length: where the branches' positions begin.
        """
        return int(self.prefix.get_seq_length(layer_idx))


_branches: BranchCache | None = None


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
    if _branches is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return found
    layer = _branches.prefix.layers[module.layer_idx]
    # Under autocast, rotated queries and keys come back wider than the values, and the
    # cache keeps keys and values in one precision.
    query, key, prefix_key, prefix_value = (
        x.to(value.dtype) for x in (query, key, layer.keys, layer.values)
    )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out: torch.Tensor = _SplitAttention.apply(  # type: ignore[no-untyped-call]
        query, prefix_key, prefix_value, key, value, scale
    )
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attention)


@contextmanager
def split_attention(config: Any, branches: BranchCache | None) -> Iterator[None]:
    """
    Let a model of *config* use this attention inside the block, with *branches* to look at.

    Without a mask function of its own name, transformers builds no mask; every
    row has to be causal and padded on the right only.

    Args:
        config: The model's configuration; put back afterwards.
        branches: None for the prefix itself and for plain rows.
    """
    global _branches
    before = config._attn_implementation
    config._attn_implementation = NAME
    _branches = branches
    try:
        yield
    finally:
        _branches = None
        config._attn_implementation = before
