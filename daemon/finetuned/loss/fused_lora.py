"""
LoRA's linear layer as one autograd node.

Computes y = x W' + s (x A') B' as peft does, but adds the update inside the matrix
product, without separate passes over the activations for scaling and adding, forward or
backward. The products of the update have the precision of the base, as under autocast;
without autocast peft computes them in the precision of the adapter. Only for a plain
linear base with one adapter and no dropout. Does not know training.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear


class _LoraLinear(torch.autograd.Function):
    """
    x (..., I), weight (O, I), a (r, I), b (O, r) -> (..., O).
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        # In the precision of the base, as under autocast.
        a_low, b_low = a.to(flat.dtype), b.to(flat.dtype)
        y = torch.mm(flat, weight.t()) if bias is None else torch.addmm(bias, flat, weight.t())
        inner = torch.mm(flat, a_low.t())
        y.addmm_(inner, b_low.t(), alpha=scaling)
        ctx.save_for_backward(flat, inner, weight, a_low, b_low)
        ctx.scaling, ctx.shape, ctx.kept = scaling, x.shape, (a.dtype, b.dtype)
        return y.view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        flat, inner, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        through = torch.mm(grad, b).mul_(ctx.scaling)
        d_b = torch.mm(grad.t(), inner).mul_(ctx.scaling).to(ctx.kept[1])
        d_a = torch.mm(through.t(), flat).to(ctx.kept[0])
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = torch.mm(grad, weight).addmm_(through, a).view(ctx.shape)
        return d_x, None, None, d_a, d_b, None


def _forward(layer: Linear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if args or kwargs or layer.merged or layer.disable_adapters:
        found: torch.Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return found
    (name,) = layer.active_adapters
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    kind, dtype = x.device.type, weight.dtype
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        y: torch.Tensor = _LoraLinear.apply(  # type: ignore[no-untyped-call]
            x.to(dtype),
            weight.to(dtype),
            None if bias is None else bias.to(dtype),
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.scaling[name],
        )
    return y


def fuse_lora(model: torch.nn.Module) -> int:
    """
    Make each adapter layer of *model* run as one node, if the mathematics is the same.

    Layers with dropout, DoRA and other variants, quantised or trainable bases, or several
    adapters are not changed.

    Returns:
        How many layers were changed.
    """
    fused = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer):
            layer.forward = partial(_forward, layer)
            fused += 1
    return fused


def _is_plain(layer: Linear) -> bool:
    if len(layer.active_adapters) != 1 or type(layer.base_layer) is not torch.nn.Linear:
        return False
    name = layer.active_adapters[0]
    return (
        name in layer.lora_A
        and name not in layer.lora_variant
        and not layer.lora_bias.get(name)
        and not layer.fan_in_fan_out
        and not layer.base_layer.weight.requires_grad
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
    )
