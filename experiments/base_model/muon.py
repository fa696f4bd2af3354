"""
Muon for the matrices inside the layers, in float32.

The momentum of each matrix is made orthogonal by five Newton-Schulz iterations (Keller
Jordan, https://kellerjordan.github.io/posts/muon/). ``torch.optim.Muon`` iterates in
bfloat16, one matrix after another, which a CPU without avx512_bf16 does some twenty times
slower than this: here all matrices of one shape are iterated together.

Knows matrices; does not know the model.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """
    Args:
        matrices: Parameters of two dimensions.
        lr: Rate, for a step as large as one of AdamW's (0.2 root mean square).
        weight_decay: Decoupled from the gradient.
        momentum: Nesterov's.
    """

    def __init__(
        self,
        matrices: Iterable[torch.Tensor],
        *,
        lr: float,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """
        Make one step; *closure* is not called.
        """
        for group in self.param_groups:
            shapes: defaultdict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                shapes[parameter.shape].append(parameter)
            for shape, parameters in shapes.items():
                updates = torch.stack(
                    [self._update(p, p.grad, group["momentum"]) for p in parameters]
                )
                directions = orthogonal(updates)
                scale = group["lr"] * 0.2 * math.sqrt(max(shape))
                for parameter, direction in zip(parameters, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(direction, alpha=scale)

    def _update(self, parameter: torch.Tensor, gradient: Any, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        kept: torch.Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        result: torch.Tensor = gradient.lerp(kept, momentum)
        return result


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """
    Return the matrices with singular values near 1 and the same singular vectors.

    Args:
        matrices: Of shape (number, rows, columns).
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
