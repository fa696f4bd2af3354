"""
Attention of many rows in one sequence, without a mask and without padding.

The sequence is a prefix that all rows share (it may be empty), then the rest of each row,
one after another. A token attends to the whole prefix and to its own row up to itself.
The two parts are computed separately and merged by their softmax normalisers; the
gradient of each part needs only the merged output and normaliser (the identity that ring
attention uses, arXiv 2310.01889). The prefix is not copied per row; rows are padded to
one length for their own part of the attention only. Uses torch's flash kernel for CPU.
Does not know models or losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import AttentionInterface, PretrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME: Final = "finetuned_split"
"""The name under which the attention is registered with transformers."""

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True, slots=True)
class RowLayout:
    """
    The layout of a sequence: P tokens of a prefix, then T tokens of N rows of up to R each.
    """

    prefix: int
    """P >= 0."""
    n: int
    """N >= 1."""
    width: int
    """R >= 1."""
    slots: torch.Tensor
    """int64 (T,): the place of each token in (N, R), counted row by row."""

    def by_row(self, x: torch.Tensor, groups: int = 1) -> torch.Tensor:
        """
        (1, H, T, D) -> (N, H * groups, R, D), zeros after the end of a row.
        """
        _, heads, t, width = x.shape
        if t == self.n * self.width:
            rows = x[0].view(heads, self.n, self.width, width).transpose(0, 1)
        else:
            flat = x.new_zeros(self.n * self.width, heads, width)
            flat.index_copy_(0, self.slots, x[0].transpose(0, 1))
            rows = flat.view(self.n, self.width, heads, width).transpose(1, 2)
        return rows if groups == 1 else rows.repeat_interleave(groups, dim=1)

    def in_line(self, x: torch.Tensor) -> torch.Tensor:
        """
        (N, H, R, D) -> (1, H, T, D).
        """
        if len(self.slots) == self.n * self.width:
            return x.transpose(0, 1).flatten(1, 2).unsqueeze(0)
        flat = x.transpose(1, 2).reshape(self.n * self.width, x.shape[1], x.shape[3])
        return flat.index_select(0, self.slots).transpose(0, 1).unsqueeze(0)


class _RowAttention(torch.autograd.Function):
    """
    Attention of queries (1, H, T, D) to a prefix (1, K, P, D) and to their rows (1, K, T, D).

    K divides H.
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
        layout: RowLayout,
    ) -> torch.Tensor:
        groups = query.shape[1] // key.shape[1]
        by_row = (layout.by_row(query), layout.by_row(key, groups), layout.by_row(value, groups))
        out_r, norm_r = _flash(*by_row, 0.0, True, scale=scale)
        if not layout.prefix:
            ctx.save_for_backward(query, prefix_key, prefix_value, *by_row, out_r, norm_r)
            ctx.scale, ctx.layout, ctx.groups = scale, layout, groups
            return layout.in_line(out_r)
        # All queries of a key head together, so that the prefix is read once, not once per row.
        query = query.contiguous()
        out_p, norm_p = _flash(
            _by_key_head(query, groups), prefix_key, prefix_value, 0.0, False, scale=scale
        )
        out_p, norm_p = out_p.reshape(query.shape), norm_p.reshape(*query.shape[:3], 1)
        out_r, norm_r = layout.in_line(out_r), layout.in_line(norm_r.unsqueeze(-1))
        norm = torch.logaddexp(norm_p, norm_r)
        out: torch.Tensor = out_r.float() * (norm_r - norm).exp_()
        out = out.addcmul_(out_p.float(), (norm_p - norm).exp_()).to(query.dtype)
        ctx.save_for_backward(query, prefix_key, prefix_value, *by_row, out, norm)
        ctx.scale, ctx.layout, ctx.groups = scale, layout, groups
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        query, prefix_key, prefix_value, query_r, key_r, value_r, out, norm = ctx.saved_tensors
        layout, groups, grad = ctx.layout, ctx.groups, grads[0]
        if layout.prefix:
            out_r = layout.by_row(out)
            norm_r = layout.by_row(norm).squeeze(-1)
        else:
            out_r, norm_r = out, norm
        found = _flash_backward(
            layout.by_row(grad),
            query_r,
            key_r,
            value_r,
            out_r,
            norm_r,
            0.0,
            True,
            scale=ctx.scale,
        )
        d_query, d_key, d_value = (layout.in_line(d) for d in found)
        if groups > 1:
            shape = (1, -1, groups, *d_key.shape[2:])
            d_key, d_value = d_key.reshape(shape).sum(2), d_value.reshape(shape).sum(2)
        if not layout.prefix:
            return d_query, None, None, d_key, d_value, None, None
        d_query_p, d_prefix_key, d_prefix_value = _flash_backward(
            _by_key_head(grad.contiguous(), groups),
            _by_key_head(query, groups),
            prefix_key,
            prefix_value,
            _by_key_head(out.contiguous(), groups),
            _by_key_head(norm, groups).squeeze(-1),
            0.0,
            False,
            scale=ctx.scale,
        )
        d_query = d_query + d_query_p.reshape(query.shape)
        return d_query, d_prefix_key, d_prefix_value, d_key, d_value, None, None


def _by_key_head(x: torch.Tensor, groups: int) -> torch.Tensor:
    """(1, H, L, D) -> (1, K, G * L, D)."""
    return x.reshape(1, x.shape[1] // groups, groups * x.shape[2], x.shape[3])


_layout: RowLayout | None = None
"""Of the sequence inside a split_attention() block."""


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
    if _layout is None:
        raise RuntimeError("attention used outside split_attention()")
    # Under autocast, rotated queries and keys are float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    prefix = _layout.prefix
    rest: torch.Tensor = _RowAttention.apply(  # type: ignore[no-untyped-call]
        query[:, :, prefix:],
        key[:, :, :prefix],
        value[:, :, :prefix],
        key[:, :, prefix:],
        value[:, :, prefix:],
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        _layout,
    )
    if not prefix:
        return rest.transpose(1, 2), None
    head, _ = sdpa_attention_forward(
        module,
        query[:, :, :prefix],
        key[:, :, :prefix],
        value[:, :, :prefix],
        None,
        scaling=scaling,
    )
    return torch.cat([head, rest.transpose(1, 2)], dim=1), None


AttentionInterface.register(NAME, _attention)


@contextmanager
def split_attention(config: PretrainedConfig, layout: RowLayout) -> Iterator[None]:
    """
    Make the model of *config* use this attention inside the block, without a mask.

    Args:
        config: The model's configuration; restored after the block.
        layout: Of the one sequence, (1, P + T), that the model is run on.
    """
    global _layout
    before = config._attn_implementation
    config._attn_implementation = NAME
    _layout = layout
    try:
        yield
    finally:
        _layout = None
        config._attn_implementation = before
