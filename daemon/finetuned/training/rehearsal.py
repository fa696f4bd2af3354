"""
The costliest micro-batch of a plan, run once before training to find the token budget.

A job that does not fit into memory says so in its first seconds. Does not know what
the rows mean.
"""

from __future__ import annotations

import gc

import torch
from accelerate.utils.memory import should_reduce_batch_size

from finetuned.data.plan import Plan
from finetuned.errors import OutOfMemory
from finetuned.files.rank import world
from finetuned.loss.supervised import SupervisedLM
from finetuned.training import processes, sharded
from finetuned.training.rows import JobRows
from finetuned.training.token_budget import TokenBudget

SPARE_BYTES = 2**25
"""
Memory beside tensors that a step must find free: 32 MiB for a writing thread, log lines and
libraries that end the process if an allocation is refused.
"""

_COPIES_OF_A_CHECKPOINT = 3
"""Weights and both moments of Adam."""


def is_out_of_memory(error: BaseException) -> bool:
    """
    Whether *error* says that memory did not suffice, on any device.
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, Exception) and (
        should_reduce_batch_size(error)
        or "not enough memory" in str(error)
        or "bad_alloc" in str(error)
    )


def free_memory(model: torch.nn.Module) -> None:
    """
    Drop every gradient of *model* and give back the memory that the allocator caches.
    """
    model.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def rehearse(model: SupervisedLM, rows: JobRows, plan: Plan, budget: TokenBudget) -> None:
    """
    Run the costliest micro-batch forward and backward, halving the budget until it fits.

    Meanwhile as much memory is held as a checkpoint and an exchange of gradients take.
    Each process tries on its own device; the lowest budget becomes that of all.
    Parameters, gradients and random state are afterwards as before.

    Args:
        model: In training mode.
        rows: Rows of the job, by example number.
        plan: Plan of the job.
        budget: Lowered to what fits.

    Raises:
        OutOfMemory: One row alone does not fit in some process; raised in all of them.
    """
    try:
        _find_budget(model, rows, plan, budget)
    except OutOfMemory:
        processes.lowest(0)
        raise
    agreed = processes.lowest(budget.tokens)
    if agreed == 0:
        longest = plan.costliest(1)  # a budget of 1 token leaves each row alone
        raise OutOfMemory(plan.cost(longest), "in another process of the run")
    budget.lower_to(agreed)


def _find_budget(model: SupervisedLM, rows: JobRows, plan: Plan, budget: TokenBudget) -> None:
    held: list[torch.Tensor] = []
    with torch.random.fork_rng():
        while True:
            micro_batch = plan.costliest(budget.tokens)
            try:
                held = held or [*_as_while_saving(model), *_as_while_exchanging(model)]
                model([rows[n] for n in micro_batch]).backward()
            except Exception as error:
                # Of a sharded model, the other processes wait inside their forward pass:
                # this one must crash, and the next run begins with half the budget.
                if sharded.asked() or not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)  # its frames hold the tensors
            else:
                break
            free_memory(model)
            budget.halve(len(micro_batch), plan.cost(micro_batch), problem)
    model.zero_grad(set_to_none=True)


def _as_while_saving(model: SupervisedLM) -> list[torch.Tensor]:
    """Return as much host memory, filled, as a checkpoint takes that is written during a step."""
    copies = [
        torch.ones(p.shape, dtype=p.dtype)
        for p in model.parameters()
        if p.requires_grad
        for _ in range(_COPIES_OF_A_CHECKPOINT)
    ]
    return [*copies, torch.ones(SPARE_BYTES, dtype=torch.uint8)]


def _as_while_exchanging(model: SupervisedLM) -> list[torch.Tensor]:
    """Return as much device memory as a second copy of the gradients takes in an exchange."""
    if world() == 1 or sharded.asked():
        return []
    return [torch.ones_like(p, requires_grad=False) for p in model.parameters() if p.requires_grad]
