"""
The MLP of a model's last layer, computed at the scored positions only.

What it says at other positions reaches no loss.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel


class SelectiveMLP:
    """
    Hooks on the last layer's MLP, if that is one module.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        self.positions: torch.Tensor | None = None
        """int64 (S,), counted row by row: where it is computed; None is everywhere."""
        self._shape: torch.Size | None = None
        layers = getattr(lm.base_model, "layers", None) or getattr(lm.base_model, "h", None)
        mlp = getattr(layers[-1], "mlp", None) if layers else None
        if mlp is not None:
            mlp.register_forward_pre_hook(self._select)
            mlp.register_forward_hook(self._spread)

    def _select(self, _: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """(N, R, H) -> (1, S, H)."""
        if self.positions is None:
            return None
        self._shape = args[0].shape
        return (at_positions(args[0], self.positions).unsqueeze(0), *args[1:])

    def _spread(
        self, _: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor
    ) -> torch.Tensor | None:
        """(1, S, H) -> (N, R, H), zeros elsewhere."""
        if self.positions is None or self._shape is None:
            return None
        n, width = self._shape[:2]
        wide = output.new_zeros(n * width, output.shape[-1])
        return wide.index_copy(0, self.positions, output[0]).view(n, width, -1)


def at_positions(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """
    (N, R, H), int64 (S,) -> (S, H).

    Several times faster than a boolean mask, forward and backward.
    """
    return x.reshape(-1, x.shape[-1]).index_select(0, positions)
