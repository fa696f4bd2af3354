"""
The most tokens that one micro-batch of a job may hold, learnt when memory runs out.

Does not know models or devices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from finetuned.core.phase import Phase
from finetuned.errors import EXIT_SOFTWARE, OutOfMemory, RecordError
from finetuned.files.heartbeat import read_beat
from finetuned.files.rank import world
from finetuned.files.run import read_exit


class TokenBudget:
    """
    The most tokens of one micro-batch; it never grows.
    """

    def __init__(self, tokens: int, *, on_change: Callable[[int], None]) -> None:
        """
        Args:
            tokens: The budget to begin with, >= 1.
            on_change: Called with each new budget.
        """
        self.tokens = tokens
        self._on_change = on_change

    def halve(self, rows: int, cost: int, error: BaseException) -> None:
        """
        Lower the budget to half of a micro-batch that did not fit.

        Args:
            rows: Rows of that micro-batch, >= 1.
            cost: Its tokens, padding included.
            error: What the device or the operating system said.

        Raises:
            OutOfMemory: It was a single row, which cannot be divided.
        """
        if rows <= 1:
            raise OutOfMemory(cost, str(error)) from error
        self.lower_to(max(1, min(self.tokens, cost) // 2))

    def lower_to(self, tokens: int) -> None:
        """
        Lower the budget to *tokens*, >= 1; keep it if that is more.
        """
        if tokens < self.tokens:
            self.tokens = tokens
            self._on_change(tokens)


def first_budget(configured: int, earlier_runs: Sequence[Path]) -> int:
    """
    Return the budget that a run begins with, given how earlier runs of its job ended.

    What an earlier run came down to is kept. A run that the kernel killed for its memory
    could not lower its budget; its heartbeat says that it was rehearsing and there is no
    exit record, so the budget that it tried is halved here. If several processes rehearse
    and one is killed, rank 0 loses the connection and leaves with EXIT_SOFTWARE instead.

    Args:
        configured: training.max_batch_tokens.
        earlier_runs: Run folders of the same job, in any order.
    """
    budget = configured
    for folder in earlier_runs:
        try:
            beat, ended = read_beat(folder), read_exit(folder)
        except RecordError:
            continue  # of another version of the program: this run finds its budget by itself
        tried = None if beat is None else beat.max_batch_tokens
        if beat is None or tried is None:
            continue
        crashed = ended is None or (world() > 1 and ended.status == EXIT_SOFTWARE)
        died = beat.phase is Phase.REHEARSING and crashed
        budget = min(budget, max(1, tried // 2) if died else tried)
    return budget
