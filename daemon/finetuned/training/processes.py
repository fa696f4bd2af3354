"""
What the processes of one run must agree on.

Each of them computes its part of a step and decides for itself; whatever would
make one leave a loop that the others stay in goes through here, so that no
process waits for an exchange that another never enters. With one process every
answer is what was asked. Does not know models, plans or folders.
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
"""How long a process waits for the others: rank 0 may be writing or looking meanwhile."""


def join(*, cpu: bool) -> None:
    """
    Meet the other processes of this run, and take this process's own device.

    Call it before anything is loaded: from here on "cuda" means the GPU of this
    process. Does nothing where there is one process.

    Args:
        cpu: Whether the run trains on the CPU.

    Raises:
        ConfigError: The launch file asks for what cannot be trained with; nothing was met.
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
            f"training.accelerate_config asks for mixed_precision {precision!r}, but precision is "
            "model.dtype's; set mixed_precision: 'no' there"
        )
    PartialState(cpu=cpu, timeout=timedelta(seconds=EXCHANGE_SECONDS))


def lowest(value: int) -> int:
    """
    Return the smallest *value* of all processes.
    """
    return int(_over_all([float(value)], dist.ReduceOp.MIN)[0])


def totals(*values: float) -> list[float]:
    """
    Return the sum of each of *values* over all processes, the same bits in each of them.
    """
    return _over_all(values, dist.ReduceOp.SUM)


def any_of(value: bool) -> bool:
    """
    Whether *value* is true in some process: a signal reaches them at different moments.
    """
    return totals(float(value)) != [0.0]


def _over_all(values: Sequence[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
    if world() == 1:
        return list(values)
    # float64 holds every token count exactly.
    box = torch.tensor(values, dtype=torch.float64, device=PartialState().device)
    dist.all_reduce(box, operation)
    agreed: list[float] = box.tolist()
    return agreed
