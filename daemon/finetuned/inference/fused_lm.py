"""
The forward pass of Llama-shaped models in few operations.

The many small operations of a layer in transformers cost more than the matrix products of a
small model. Here the products that read the same input are one, and masks and rotations are
computed once a pass. Used only if a probe gives the model's own logits. Does not know prompts
or stop tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import DynamicCache

from finetuned.inference.cached_lm import CachedLM
from finetuned.model.types import LanguageModel

_KINDS: Final = {"llama", "mistral", "qwen2", "qwen3"}
_ROTATIONS: Final = {"default", "linear", "llama3", "yarn"}
"""Kinds of rotary embedding whose angles depend on the position alone."""

_TOLERANCE: Final = 1e-4
"""Largest relative difference of logits that counts as rounding; a mistake is of the order 1."""


def fused(model: LanguageModel) -> CachedLM:
    """
    Return *model* with fewer operations a pass if that is possible, else as it is.

    Matrices that are multiplied with the same input are put side by side in memory; the
    model's own parameters become views of them.

    Args:
        model: In evaluation mode, without gradients; loaded for good.
    """
    plain = CachedLM(model)
    if not _is_known(model):
        return plain
    made = FusedLM(model)
    return made if _agree(plain, made) else plain


class FusedLM(CachedLM):
    """
    A model that _is_known().
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model)
        decoder: Any = self._lm.model
        attention = decoder.layers[0].self_attn
        self._heads: int = self._lm.config.num_attention_heads
        self._kept_heads: int = self._lm.config.num_key_value_heads
        self._head_size: int = attention.head_dim
        self._scale: float = attention.scaling
        self._embedding: torch.Tensor = decoder.embed_tokens.weight
        self._layers = [_layer(layer, self._heads, self._kept_heads) for layer in decoder.layers]
        self._norm = _norm(decoder.norm)
        self._head = _product(self._lm.lm_head)
        self._rotation: Any = decoder.rotary_emb
        self._angles = self._angles_to(256)

    def logits(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, keep: int
    ) -> torch.Tensor:
        """
        As CachedLM.logits().
        """
        (n, asked), width = ids.shape, mask.shape[1]
        if width > self._angles[0].shape[0]:
            self._angles = self._angles_to(2 * width)
        places = (mask.cumsum(1) - 1).clamp_(min=0)[:, width - asked :]
        cos, sin = (table[places].unsqueeze(2) for table in self._angles)
        bias = _bias(mask, asked, self._embedding.dtype)
        x = functional.embedding(ids, self._embedding)
        turned, split = self._heads + self._kept_heads, self._heads + 2 * self._kept_heads
        for number, layer in enumerate(self._layers):
            heads = layer.before(layer.norm(x)).view(n, asked, split, self._head_size)
            turning = heads[:, :, :turned]
            if layer.head_norm is not None:
                turning = layer.head_norm(turning)
            turning = torch.addcmul(turning * cos, _half_turned(turning), sin).transpose(1, 2)
            queries, keys = turning[:, : self._heads], turning[:, self._heads :]
            keys, values = cache.update(keys, heads[:, :, turned:].transpose(1, 2), number)
            found = functional.scaled_dot_product_attention(
                queries,
                keys,
                values,
                attn_mask=bias,
                scale=self._scale,
                enable_gqa=self._heads != self._kept_heads,
            )
            x = x + layer.after(found.transpose(1, 2).reshape(n, asked, -1))
            gate, up = layer.wide(layer.wide_norm(x)).chunk(2, -1)
            x = x + layer.narrow(functional.silu(gate) * up)
        return self._head(self._norm(x[:, asked - keep :]))

    def _angles_to(self, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines, (positions, D) each."""
        places = torch.arange(positions, device=self.device).unsqueeze(0)
        cos, sin = self._rotation(self._embedding[:1], places)
        half = self._head_size // 2
        return cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)


@dataclass(frozen=True, slots=True)
class _Norm:
    """
    Divide by the root of the mean square, and multiply by weights.
    """

    weight: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight.dim() == 1:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
        return functional.rms_norm(x, self.weight.shape[-1:], None, self.epsilon) * self.weight


@dataclass(frozen=True, slots=True)
class _Product:
    """
    One matrix, perhaps of several linear layers, and its bias.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    """
    What one layer multiplies with.
    """

    norm: _Norm
    before: _Product
    """Queries, keys and values."""
    head_norm: _Norm | None
    """Of queries and keys."""
    after: _Product
    wide_norm: _Norm
    wide: _Product
    """Gate and its factor."""
    narrow: _Product


def _layer(layer: Any, heads: int, kept_heads: int) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    head_norm = None
    if hasattr(attention, "q_norm"):
        q, k = attention.q_norm, attention.k_norm
        weight = torch.cat([q.weight.expand(heads, -1), k.weight.expand(kept_heads, -1)])
        head_norm = _Norm(weight, q.variance_epsilon)
    return _Layer(
        norm=_norm(layer.input_layernorm),
        before=_product(attention.q_proj, attention.k_proj, attention.v_proj),
        head_norm=head_norm,
        after=_product(attention.o_proj),
        wide_norm=_norm(layer.post_attention_layernorm),
        wide=_product(mlp.gate_proj, mlp.up_proj),
        narrow=_product(mlp.down_proj),
    )


def _norm(module: Any) -> _Norm:
    return _Norm(module.weight, module.variance_epsilon)


def _product(*layers: Any) -> _Product:
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return _Product(_side_by_side(layers), bias)


def _side_by_side(layers: tuple[Any, ...]) -> torch.Tensor:
    """
    Return the matrices of some layers as one; without a copy if they lie so already.
    """
    weights: list[torch.Tensor] = [layer.weight for layer in layers]
    first = weights[0]
    if len(weights) == 1:
        return first
    rows = [len(w) for w in weights]
    row_bytes = first.stride(0) * first.element_size()
    begins = [first.data_ptr() + sum(rows[:i]) * row_bytes for i in range(len(rows))]
    shared = {w.untyped_storage().data_ptr() for w in weights}
    if len(shared) == 1 and begins == [w.data_ptr() for w in weights]:
        return first.as_strided((sum(rows), first.shape[1]), first.stride())
    whole = torch.cat([w.detach() for w in weights])
    for layer, part in zip(layers, torch.split(whole, rows), strict=True):
        layer.weight = torch.nn.Parameter(part, requires_grad=False)
    return whole


def _half_turned(x: torch.Tensor) -> torch.Tensor:
    """(..., D) -> (..., D), the halves exchanged."""
    first, second = x.chunk(2, -1)
    return torch.cat([second, first], -1)


def _bias(mask: torch.Tensor, asked: int, dtype: torch.dtype) -> torch.Tensor | None:
    """
    Return what is added to the scores of attention: 0, or minus infinity at what is not read.

    A masked token reads itself, so that no row is all minus infinity.

    Args:
        mask: int64 (N, W), 1 at every token.
        asked: Q, the last tokens, which are run.
        dtype: Of the result, (N, 1, Q, W).

    Returns:
        None if everything is read.
    """
    n, width = mask.shape
    if asked == 1 and n == 1:
        return None
    slots = torch.arange(width, device=mask.device)
    own = slots[width - asked :].unsqueeze(1)
    read = ((slots <= own) & (mask.unsqueeze(1) != 0)) | (slots == own)
    bias = torch.zeros(read.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill_(~read, -torch.inf).unsqueeze(1)


def _is_known(model: Any) -> bool:
    """Return whether FusedLM computes what *model* does, as far as its configuration says."""
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) not in _KINDS or hasattr(model, "peft_config"):
        return False
    if getattr(config, "hidden_act", "") != "silu" or getattr(config, "sliding_window", None):
        return False
    kinds = {type(layer) for layer in model.modules() if hasattr(layer, "in_features")}
    rotation = getattr(model.model.rotary_emb, "rope_type", None)
    full = {"full_attention"} >= set(getattr(config, "layer_types", None) or ())
    types = {p.dtype for p in model.parameters()}
    return bool(
        kinds == {torch.nn.Linear} and rotation in _ROTATIONS and full and types == {torch.float32}
    )


def _agree(plain: CachedLM, made: CachedLM) -> bool:
    """
    Return whether both give the same logits but for rounding.

    On two rows of different length, run in two parts, the second with a masked end.
    """
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(0, plain.vocabulary, (2, 24), generator=random).to(plain.device)
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    mask[0, 22:] = 0
    with torch.inference_mode():
        found = []
        for lm in (plain, made):
            cache = DynamicCache()
            first = lm.logits(ids[:, :16], mask[:, :16], cache, 1)
            second = lm.logits(ids[:, 16:], mask, cache, 8)
            found.append(torch.cat([first, second[:, :6]], 1))
    difference = (found[0] - found[1]).norm() / found[0].norm().clamp_min(1e-20)
    return bool(difference <= _TOLERANCE)
