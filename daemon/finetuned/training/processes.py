"""
Values on which all processes of one run must agree.

Each process computes its part of a step and runs the same code. A value that could make
one of them leave a loop that the others stay in is exchanged here first; otherwise they
would wait for an exchange that it never enters. With one process every function returns
its argument. Does not know models, plans or folders.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import PartialState

from finetuned.errors import ConfigError
from finetuned.files.rank import world
from finetuned.training import sharded

EXCHANGE_SECONDS = 1800
"""Longest wait for the other processes: rank 0 may save or make a live eval meanwhile."""


def join(*, cpu: bool) -> None:
    """
    Connect to the other processes of this run, and select the device of this one.

    Call it before anything is loaded: afterwards "cuda" means the GPU of this process.
    Does nothing if there is one process.

    Args:
        cpu: Whether the run trains on the CPU.

    Raises:
        ConfigError: The launch file asks for something unsupported; nothing was connected.
    """
    if world() == 1:
        return
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        raise ConfigError(
            "training.accelerate_config asks for DeepSpeed, which is not supported; "
            "distributed_type must be MULTI_GPU or FSDP, see docs/how-to/train-on-several-gpus.md"
        )
    if sharded.asked():
        sharded.take_over()
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if precision != "no":
        raise ConfigError(
            f"training.accelerate_config asks for mixed_precision {precision!r}, but model.dtype "
            "sets the precision; write mixed_precision: 'no' in that file"
        )
    PartialState(cpu=cpu, timeout=timedelta(seconds=EXCHANGE_SECONDS))


def lowest(value: int) -> int:
    """
    Return the lowest *value* of all processes, the same in each of them.
    """
    return int(_over_all([float(value)], dist.ReduceOp.MIN)[0])


def totals(*values: float) -> list[float]:
    """
    Return the sum of each of *values* over all processes, the same bits in each of them.
    """
    return _over_all(values, dist.ReduceOp.SUM)


def any_of(value: bool) -> bool:
    """
    Whether *value* is true in at least one process.

    A signal, for example, reaches the processes at different moments.
    """
    return totals(float(value)) != [0.0]


def _over_all(values: Sequence[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
    if world() == 1:
        return list(values)
    # float64 holds every token count below 2**53 exactly.
    box = torch.tensor(values, dtype=torch.float64, device=PartialState().device)
    dist.all_reduce(box, operation)
    agreed: list[float] = box.tolist()
    return agreed
