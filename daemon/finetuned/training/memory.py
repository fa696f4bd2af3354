"""
How many tokens a micro-batch may hold before memory ends, learnt once and early.

The costliest micro-batch of the plan runs first, so that a job which does not fit
says so in its first seconds. Does not know what the rows mean.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size

from finetuned.core.phase import Phase
from finetuned.data.plan import Plan
from finetuned.errors import EXIT_SOFTWARE, OutOfMemory
from finetuned.files.heartbeat import read_beat
from finetuned.files.rank import world
from finetuned.files.run import read_exit
from finetuned.loss.supervised import SupervisedLM
from finetuned.training import processes, sharded
from finetuned.training.rows import JobRows

SPARE_BYTES = 2**25
"""
What else a step needs beside tensors, 32 MiB: a writing thread, log lines, libraries that
end the process where an allocation is refused.
"""


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


class TokenBudget:
    """
    The most tokens of one micro-batch; only ever halved.
    """

    def __init__(self, tokens: int, *, on_change: Callable[[int], None]) -> None:
        """
        Args:
            tokens: training.max_batch_tokens, or what an earlier try found.
            on_change: Told each new budget.
        """
        self.tokens = tokens
        self._on_change = on_change

    def halve(self, micro_batch: list[int], cost: int, error: BaseException) -> None:
        """
        Take half of what just did not fit.

        Raises:
            OutOfMemory: It was a single row: nothing smaller can be tried.
        """
        if len(micro_batch) <= 1:
            raise OutOfMemory(cost, str(error)) from error
        self.lower_to(max(1, min(self.tokens, cost) // 2))

    def lower_to(self, tokens: int) -> None:
        """
        Take *tokens*, >= 1, where that is less.
        """
        if tokens < self.tokens:
            self.tokens = tokens
            self._on_change(tokens)


def free_memory(model: torch.nn.Module) -> None:
    """
    Let go of every gradient and of what the allocator keeps.
    """
    model.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def rehearse(model: SupervisedLM, rows: JobRows, plan: Plan, budget: TokenBudget) -> None:
    """
    Run the costliest micro-batch forward and backward, halving the budget until it fits.

    Beside it lies what a checkpoint takes that is written meanwhile. Each process tries
    on its own device; the least that one of them found is the budget of all. Parameters,
    gradients and random state are as before.

    Raises:
        OutOfMemory: One row alone does not fit, in some process; raised in all of them.
    """
    try:
        _find_budget(model, rows, plan, budget)
    except OutOfMemory:
        processes.lowest(0)
        raise
    agreed = processes.lowest(budget.tokens)
    if agreed == 0:
        longest = plan.costliest(1)  # a row alone: no budget of 1 token holds two
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
                # Sharded, the others wait for this one inside their forward pass: a crash, and
                # the next try begins with half.
                if sharded.asked() or not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)  # its frames hold the tensors
            else:
                break
            free_memory(model)
            budget.halve(micro_batch, plan.cost(micro_batch), problem)
    model.zero_grad(set_to_none=True)


def _as_while_saving(model: SupervisedLM) -> list[torch.Tensor]:
    """
    Return as much host memory as a checkpoint takes that is written during a step.

    Its copy of weights and both moments, and SPARE_BYTES. Filled, so that it is there.
    """
    copies = [
        torch.ones(p.shape, dtype=p.dtype)
        for p in model.parameters()
        if p.requires_grad
        for _ in range(3)
    ]
    return [*copies, torch.ones(SPARE_BYTES, dtype=torch.uint8)]


def _as_while_exchanging(model: SupervisedLM) -> list[torch.Tensor]:
    """
    Return as much memory of the device as gradients take a second time while they are exchanged.
    """
    if world() == 1 or sharded.asked():
        return []
    return [torch.ones_like(p, requires_grad=False) for p in model.parameters() if p.requires_grad]


def budget_left(configured: int, earlier_runs: list[Path]) -> int:
    """
    Return the budget to begin with, after what earlier runs of the job showed.

    A run that the kernel killed for its memory could not say so; its last heartbeat does:
    it was rehearsing, and it left no exit record. Its budget is halved. Where several
    processes rehearse and one is killed, rank 0 loses touch and calls that a crash.

    Args:
        configured: training.max_batch_tokens.
        earlier_runs: Run folders of the same job.
    """
    budget = configured
    for folder in earlier_runs:
        beat = read_beat(folder)
        tried = None if beat is None else beat.max_batch_tokens
        if beat is None or tried is None:
            continue
        ended = read_exit(folder)
        crashed = ended is None or (world() > 1 and ended.status == EXIT_SOFTWARE)
        died = beat.phase is Phase.REHEARSING and crashed
        budget = min(budget, max(1, tried // 2) if died else tried)
    return budget
