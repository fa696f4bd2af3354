"""
Which ways of computing the loss may be tried for a model on a device.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from finetuned.loss.supervised import Kernels


def candidates(lm: PreTrainedModel, device: torch.device, *, prefix: str = "auto") -> list[Kernels]:
    """
    Return the ways that may be tried for this model, the plainest last.

    Args:
        lm: The causal language model, without an adapter around it.
        device: The device it is on.
        prefix: training.kernels; any value but "auto" leaves only that way, then "stock".
    """
    attention = lm.config._attn_implementation
    stock = Kernels("stock", attention)
    if prefix == "stock":
        return [stock]
    recomputes = any(getattr(m, "gradient_checkpointing", False) for m in lm.modules())
    if prefix == "none" or recomputes:  # activations that are computed again keep no cache
        return [Kernels("none", attention), stock]
    shared = [Kernels("cache", attention)]
    plain = not _slides(lm.config) and not _drops_attention(lm.config)
    if device.type == "cpu" and attention == "sdpa" and plain:
        shared.insert(0, Kernels("split", attention))
    if device.type == "cuda":
        shared += [Kernels("cache", name) for name in _cuda_attentions()]
        shared += [Kernels("cache", attention, head) for head in ("liger", "cce") if _has(head)]
    if prefix != "auto":
        shared = [k for k in shared if k.prefix == prefix]
    return [*shared, Kernels("none", attention), stock]


def has_fast_bfloat16(device: torch.device) -> bool:
    """
    Return whether the device multiplies bfloat16 in hardware.
    """
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def _slides(config: PretrainedConfig) -> bool:
    """Return whether any layer attends to a window only."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(text, "sliding_window", None) is not None


def _drops_attention(config: PretrainedConfig) -> bool:
    """Return whether attention has dropout in training; the check runs without dropout."""
    text: Any = config.get_text_config()
    return any(getattr(text, name, 0.0) for name in ("attention_dropout", "attn_pdrop"))


def _cuda_attentions() -> list[str]:
    """Return the further attention kernels that are installed."""
    from transformers.utils import is_flash_attn_2_available, is_torch_flex_attn_available

    found = ["flash_attention_2"] if is_flash_attn_2_available() else []
    return [*found, "flex_attention"] if is_torch_flex_attn_available() else found


def _has(head: str) -> bool:
    """Return whether the package of a head kernel is installed."""
    return find_spec({"liger": "liger_kernel", "cce": "cut_cross_entropy"}[head]) is not None
