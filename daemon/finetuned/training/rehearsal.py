"""
The costliest micro-batch of a plan, run once before training to find the token budget.

A job that does not fit into memory says so in its first seconds. Does not know what
the rows mean.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from accelerate.utils.memory import should_reduce_batch_size

from finetuned.core.memory_room import next_try, surely_fits
from finetuned.data.plan import Plan
from finetuned.errors import OutOfMemory
from finetuned.files.rank import world
from finetuned.loss.supervised import SupervisedLM
from finetuned.training import processes, sharded
from finetuned.training.memory_meter import MemoryMeter
from finetuned.training.rows import JobRows
from finetuned.training.token_budget import TokenBudget

FIRST_TOKENS = 512
"""Tokens of the first micro-batch that is measured; a row that is longer stands alone."""

SPARE_BYTES = 2**25
"""
Memory beside tensors that a step must find free: 32 MiB for a writing thread, log lines and
libraries that end the process if an allocation is refused.
"""

_MOMENTS = 2
"""Of Adam, each as large as the trained weights; the first step makes them."""

_COPIES_OF_A_CHECKPOINT = 1 + _MOMENTS
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


def rehearse(
    model: SupervisedLM,
    rows: JobRows,
    plan: Plan,
    budget: TokenBudget,
    *,
    on_try: Callable[[str], None] = lambda _: None,
) -> None:
    """
    Find the most tokens of a micro-batch that fit, by running the costliest ones.

    A process by itself begins with a small one, measures it, and tries no larger one than is
    foreseen to fit: on a CPU memory that ends is not refused, it kills. Several processes,
    which must run the same, try the largest at once. One that is refused is halved. Meanwhile
    as much memory is held as a checkpoint and an exchange of gradients take.
    Each process tries on its own device; the lowest budget becomes that of all.
    Parameters, gradients and random state are afterwards as before.

    Args:
        model: In training mode.
        rows: Rows of the job, by example number.
        plan: Plan of the job.
        budget: Lowered to what fits.
        on_try: Called before each try with what is tried, in words.

    Raises:
        OutOfMemory: One row alone does not fit in some process; raised in all of them.
    """
    try:
        _find_budget(model, rows, plan, budget, on_try)
    except OutOfMemory:
        processes.lowest(0)
        raise
    agreed = processes.lowest(budget.tokens)
    if agreed == 0:
        longest = plan.costliest(1)  # a budget of 1 token leaves each row alone
        raise OutOfMemory(plan.cost(longest), "in another process of the run")
    budget.lower_to(agreed)


def _find_budget(
    model: SupervisedLM,
    rows: JobRows,
    plan: Plan,
    budget: TokenBudget,
    on_try: Callable[[str], None],
) -> None:
    held: list[torch.Tensor] = []
    meter = None if world() > 1 or sharded.asked() else MemoryMeter(model.device)
    tokens = budget.tokens if meter is None else min(budget.tokens, FIRST_TOKENS)
    state_bytes = sum(
        p.numel() * p.element_size() * _MOMENTS for p in model.parameters() if p.requires_grad
    )
    with torch.random.fork_rng():
        while True:
            micro_batch = plan.costliest(tokens)
            n_tokens = plan.cost(micro_batch)
            on_try(f"{n_tokens:,} tokens of at most {budget.tokens:,}")
            try:
                held = held or [*_as_while_saving(model), *_as_while_exchanging(model)]
                measured = meter is not None and meter.begin()
                model([rows[n] for n in micro_batch]).backward()
            except Exception as error:
                # Of a sharded model, the other processes wait inside their forward pass:
                # this one must crash, and the next run begins with half the budget.
                if sharded.asked() or not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)  # its frames hold the tensors
            else:
                larger = _larger(
                    plan, budget, tokens, meter if measured else None, state_bytes=state_bytes
                )
                if larger is None:
                    break
                tokens = larger
                continue
            free_memory(model)
            budget.halve(len(micro_batch), plan.cost(micro_batch), problem)
            tokens = budget.tokens
    model.zero_grad(set_to_none=True)


def _larger(
    plan: Plan, budget: TokenBudget, tokens: int, meter: MemoryMeter | None, *, state_bytes: int
) -> int | None:
    """
    Return the tokens to try after *tokens* fitted, None if the budget is found.

    The first is tried twice: it also makes gradients and buffers, which stay.
    """
    cost, most = (plan.cost(plan.costliest(n)) for n in (tokens, budget.tokens))
    if cost >= most:
        return None
    if meter is None:
        return budget.tokens
    used, free = meter.peak_bytes(), max(0, meter.free_bytes - state_bytes)
    if surely_fits(most, measured_tokens=cost, measured_bytes=used, free_bytes=free):
        return None
    if meter.times == 1:
        return tokens
    larger = next_try(most, measured_tokens=cost, measured_bytes=used, free_bytes=free)
    if larger is None:
        budget.lower_to(max(tokens, cost))
        return None
    return budget.tokens if larger == most else larger


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
