"""
How far a job has come.

``Progress`` is the part that a checkpoint keeps; ``RunState`` is the same for a run
that is under way. Does not know models, optimizers or folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp


@dataclass(frozen=True, slots=True)
class Progress:
    """
    The position of a job at one optimizer step, as a resumed run needs it.
    """

    job_step: int
    """Optimizer steps of this job that are in the weights, >= 0."""
    lineage_step: int
    """Optimizer steps of the whole lineage, this job included, >= job_step."""
    plan_digest: str
    """Digest of the plan whose steps job_step counts."""
    totals: dict[str, float]
    """Running sums over the job: seconds, tokens, evals ..."""
    warm_up_began: int = 0
    """Lineage step at which the warm-up began that this job is in, 0 to lineage_step."""
    warm_up_steps: int = 0
    """Length of that warm-up in optimizer steps, >= 0; 0 if the checkpoint does not name it."""
    precision: str = ""
    """Type of the matrix products, e.g. "bfloat16"; "" if it is the type of the weights."""
    kernels: str = ""
    """str() of the loss.Kernels that the job computes its loss with; "" if not chosen yet."""
    early_stop: dict[str, Any] | None = None
    """``EarlyStop.as_dict`` of the job; None if early stopping is off."""
    left_out: list[int] = field(default_factory=list)
    """
    Job steps, from 1, that changed nothing because loss or gradient was not finite; those of
    checkpoints that do not name them are missing.
    """
    kernels_close: bool = False
    """Whether others may be as fast or faster, so that a later job looks again."""


@dataclass
class RunState:
    """
    The position of a job while a run trains it.
    """

    start: Progress
    """Position of the job when this process took it over."""
    total_steps: int
    """Optimizer steps in the plan of the job, > 0."""
    plan_digest: str
    warm_up: WarmUp
    early_stop: EarlyStop
    precision: str = ""
    """As in Progress."""
    kernels: str = ""
    """As in Progress."""
    kernels_close: bool = False
    """As in Progress."""
    tokens_before: Sequence[int] = ()
    """Tokens of the plan's rows before each step and after the last; empty if not known."""
    training_began: float = 0.0
    """time.monotonic() at the first step of this process; 0 before it."""
    job_step: int = field(init=False)
    """As in Progress."""
    totals: dict[str, float] = field(init=False)
    """As in Progress."""
    left_out: list[int] = field(init=False)
    """As in Progress."""

    def __post_init__(self) -> None:
        self.job_step = self.start.job_step
        self.totals = dict(self.start.totals)
        self.left_out = list(self.start.left_out)

    @property
    def lineage_step(self) -> int:
        """Optimizer steps of the whole lineage."""
        return self.start.lineage_step + self.steps_here

    @property
    def steps_here(self) -> int:
        """Optimizer steps that this process has made, >= 0."""
        return self.job_step - self.start.job_step

    @property
    def steps_left(self) -> int:
        """Optimizer steps of the plan that are still to make, >= 0."""
        return self.total_steps - self.job_step

    def seconds_left(self, elapsed: float) -> float:
        """
        Return how long the rest of the plan will take, by the tokens of its rows.

        Args:
            elapsed: Seconds since the first step of this process, which has made one at least.
        """
        here, left = self.steps_here, self.steps_left
        if self.tokens_before:
            tokens, now = self.tokens_before, self.job_step
            here, left = tokens[now] - tokens[self.start.job_step], tokens[-1] - tokens[now]
        return elapsed / max(1, here) * left

    @property
    def is_done(self) -> bool:
        """Whether the job needs no further step: the plan is done, or it stopped early."""
        return self.steps_left <= 0 or self.early_stop.should_stop

    def add(self, name: str, amount: float) -> None:
        """
        Add *amount* to the running sum *name*, which begins at 0.
        """
        self.totals[name] = self.totals.get(name, 0.0) + amount

    def progress(self) -> Progress:
        """
        Return the part of this state that a checkpoint keeps.
        """
        return Progress(
            self.job_step,
            self.lineage_step,
            self.plan_digest,
            dict(self.totals),
            warm_up_began=self.warm_up.began,
            warm_up_steps=self.warm_up.steps,
            precision=self.precision,
            kernels=self.kernels,
            kernels_close=self.kernels_close,
            early_stop=self.early_stop.as_dict() if self.early_stop.patience else None,
            left_out=list(self.left_out),
        )
