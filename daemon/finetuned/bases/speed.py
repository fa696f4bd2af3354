"""
What a machine can train of a model in an hour, by counting products and timing some.

An estimate made in a second, not a measurement of training: it knows the model's size and
how fast this machine multiplies matrices, and takes a share of that for granted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from finetuned.config import ModelConfig

ROW_TOKENS = 100
"""Length of the rows that are counted, in tokens: a short instruction and its answer."""

SHARE = 0.6
"""
Share of the time of a training step that is products, as measured on the embedded base
(docs/measurements/); the rest is norms, copies and the optimizer.
"""

_FLOP_PER_PARAMETER = {"lora": 4, "qlora": 4, "full": 6}
"""
Per token and parameter: 2 forward, 2 for the gradients of activations, 2 for those of weights,
which adapters do without (Kaplan et al. 2020, 2001.08361, section 2.1).
"""

_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineRate:
    """
    How fast this machine multiplies matrices in the precision of training.
    """

    device: str
    """As torch names it."""
    dtype: str
    threads: int
    flop_per_second: float


def rows_in_an_hour(parameters: int, rate: MachineRate, method: str) -> int:
    """
    Return about how many rows of ROW_TOKENS tokens are trained in an hour.

    Args:
        parameters: Of the model.
        rate: Of the machine.
        method: ``training.method``.
    """
    flop = _FLOP_PER_PARAMETER[method] * parameters * ROW_TOKENS
    return int(3600 * SHARE * rate.flop_per_second / flop)


def measure_rate(config: ModelConfig) -> MachineRate:
    """
    Multiply matrices for about a second, on the device and in the precision of training.

    Raises:
        ConfigError: This machine has no such device.
    """
    import torch

    from finetuned.model.load import pick_device, pick_dtype

    device = pick_device(config.device)
    dtype = pick_dtype(config.dtype, device)
    rows, width = (4096, 4096) if device.type == "cuda" else (512, 1024)
    left = torch.randn(rows, width, device=device, dtype=dtype)
    right = torch.randn(width, width, device=device, dtype=dtype)

    def products(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    products(2)
    count = max(1, int(_SECONDS / max(products(3) / 3, 1e-6)))
    seconds = min(products(count) for _ in range(3))
    return MachineRate(
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        flop_per_second=2.0 * rows * width * width * count / seconds,
    )
