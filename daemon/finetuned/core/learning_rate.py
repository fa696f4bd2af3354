"""
The learning rate of a stream of files: warm up once, then hold.

A rate is a pure function of where the run is, so a resumed run goes on with the
rate of an uninterrupted one. Re-warming at each file costs what earlier files
taught; it is done only if Adam's moments no longer describe the gradients.
Knows no optimizer and no configuration file: every number is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetuned.errors import ConfigError

REWARM_STEPS = 20
"""Optimizer steps of the short warm-up after a rollback, a merge or another mixture of data."""

DECAY_FRACTION = 0.2
"""Share of a job's steps in which "wsd" falls to zero."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """
    The current or last warm-up of a lineage.
    """

    began: int
    """Lineage step at which it began, >= 0."""
    steps: int
    """Its length in optimizer steps, >= 0; 0 begins at the full rate."""

    def factor(self, lineage_step: int) -> float:
        """
        Return the share of the full rate for one optimizer step, 1 / steps to 1.

        Args:
            lineage_step: Optimizer steps the lineage has taken before this one.

        Raises:
            ValueError: *lineage_step* lies before the warm-up began.
        """
        done = lineage_step - self.began
        if done < 0:
            raise ValueError(f"step {lineage_step} lies before the warm-up at {self.began}")
        return 1.0 if done >= self.steps else (done + 1) / self.steps


@dataclass(frozen=True, slots=True)
class Mix:
    """
    What an optimizer step is made of, as configured.
    """

    replay_presentations: int
    """How often rows of each family of earlier files are presented in a job, >= 0."""
    rows_per_step: int
    """Rows in one optimizer step, >= 1."""


def rate_factor(
    kind: str,
    *,
    lineage_step: int,
    warm_up: WarmUp,
    job_step: int,
    total_steps: int,
    decay_fraction: float = DECAY_FRACTION,
) -> float:
    """
    Return what the configured learning rate is multiplied by for one optimizer step.

    Args:
        kind: Shape of a job: "constant"; "linear" and "cosine", which fall over
            the whole job; "wsd", constant and then linear over its last part.
        lineage_step: Optimizer steps the lineage has taken before this one, >= 0.
        warm_up: The warm-up of the lineage; see ``next_warm_up``.
        job_step: Optimizer steps the job has taken before this one, 0 to total_steps.
            At total_steps, after the last step, a falling shape is 0.
        total_steps: Optimizer steps of the whole job, > 0.
        decay_fraction: Share of total_steps in which "wsd" falls, > 0 to 1.

    Returns:
        Warm-up times shape, 0 to 1.

    Raises:
        ConfigError: *kind* is not a shape.
        ValueError: A step lies outside the job, or before the warm-up.
    """
    if not 0 <= job_step <= total_steps or total_steps == 0:
        raise ValueError(f"step {job_step} of a job of {total_steps} steps")
    left = 1.0 - job_step / total_steps
    match kind:
        case "constant":
            shape = 1.0
        case "linear":
            shape = left
        case "cosine":
            shape = 0.5 * (1.0 - math.cos(math.pi * left))  # exactly 0 at the last step
        case "wsd":
            shape = min(1.0, left / decay_fraction)
        case _:
            raise ConfigError(f"training.lr_scheduler_type: {kind!r} is not a shape")
    return warm_up.factor(lineage_step) * shape


def next_warm_up(
    parent: WarmUp | None,
    *,
    lineage_step: int,
    warmup_steps: int,
    rewarm_steps: int = REWARM_STEPS,
    optimizer_reset: str | None = None,
    rolled_back: bool = False,
    merged: bool = False,
    parent_mix: Mix | None = None,
    mix: Mix | None = None,
) -> tuple[WarmUp, str | None]:
    """
    Decide at the beginning of a job whether the learning rate warms up again.

    A fresh lineage or a reset optimizer warms up in full. A rollback, a merge or
    another data mix re-warms shortly: the moments are there and describe
    gradients of something else. Otherwise the parent's warm-up goes on. A short
    re-warm never ends an unfinished warm-up early: at no step is its rate above
    the one the parent's warm-up would have given.

    Not for a resumed job: its checkpoint says which warm-up it is in.

    Args:
        parent: The warm-up the parent version was left in; None for a fresh lineage.
        lineage_step: Optimizer steps the lineage has taken, >= 0.
        warmup_steps: Length of a full warm-up, >= 0.
        rewarm_steps: Length of a short one, >= 0; 0 switches short ones off.
        optimizer_reset: Why the optimizer starts without moments; None if it goes on.
        rolled_back: Whether the job goes on from an earlier version than the last.
        merged: Whether adapters were merged, or weights averaged, since the parent.
        parent_mix: What the parent was trained on; None if unknown.
        mix: What this job is trained on.

    Returns:
        The warm-up of the job, and why it is a new one; None if the parent's goes on.
    """
    if optimizer_reset is not None:
        return WarmUp(lineage_step, warmup_steps), f"optimizer reset: {optimizer_reset}"
    if parent is None:
        return WarmUp(lineage_step, warmup_steps), "fresh lineage"
    reasons = [
        *(["rolled back"] if rolled_back else []),
        *(["merged"] if merged else []),
        *_changes(parent_mix, mix),
    ]
    if not reasons or rewarm_steps == 0:
        return parent, None
    unfinished = parent.began + parent.steps - lineage_step
    return WarmUp(lineage_step, max(rewarm_steps, unfinished)), "; ".join(reasons)


def _changes(before: Mix | None, now: Mix | None) -> list[str]:
    if before is None or now is None:
        return []
    pairs = (
        ("replay_presentations", before.replay_presentations, now.replay_presentations),
        ("rows_per_step", before.rows_per_step, now.rows_per_step),
    )
    return [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]
