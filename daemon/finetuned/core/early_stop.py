"""
Early stopping: a job ends when its held-out loss has not improved for so many steps.

EarlyStop is a frozen state that a checkpoint carries. why_incomplete() checks a
stopped job: its recorded losses are replayed through the rule, and the stop must
follow from them. Does not know the model; the caller must evaluate the same rows
at every look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from finetuned.errors import ModelError


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """
    The held-out losses of one job so far, and the best of them.

    ``EarlyStop(patience=500, min_delta=0.01)`` is the state before the first look.
    """

    patience: int
    """Optimizer steps without an improvement after which a job stops, >= 0; 0 never stops."""
    min_delta: float
    """Nats of held-out loss below the best that count as an improvement: more than this, >= 0."""
    steps: tuple[int, ...] = ()
    """Job step of each look, rising."""
    losses: tuple[float | None, ...] = ()
    """Held-out loss of each look in nats per token; None if it was NaN or Inf."""
    best: float | None = None
    """The loss that counts as the best; None before the first finite one."""
    best_step: int | None = None
    """The step of the look with that loss."""

    def __post_init__(self) -> None:
        if self.patience < 0 or not 0 <= self.min_delta < math.inf:
            raise ValueError(f"patience {self.patience}, min_delta {self.min_delta}")

    def seen(self, step: int, loss: float | None) -> EarlyStop:
        """
        Return the state after one more look.

        Many small improvements add up: the best moves only when it is beaten by
        more than min_delta, so a slow fall is compared with where it began.

        Args:
            step: Optimizer steps of the job that are in the weights, above the last look's.
            loss: Held-out loss in nats per token; NaN, Inf or None never counts as an improvement.

        Raises:
            ValueError: *step* is not after the last look; the state is unchanged.
        """
        if step < 0 or (self.steps and step <= self.steps[-1]):
            raise ValueError(f"look at step {step} after the one at {self.steps[-1:]}")
        finite = loss if loss is not None and math.isfinite(loss) else None
        state = replace(self, steps=(*self.steps, step), losses=(*self.losses, finite))
        if finite is None or (self.best is not None and finite >= self.best - self.min_delta):
            return state
        return replace(state, best=finite, best_step=step)

    @property
    def should_stop(self) -> bool:
        """
        Whether the last look came patience steps or more after the last improvement.

        Before any finite loss the count begins at the first look.
        """
        if self.patience == 0 or not self.steps:
            return False
        since = self.steps[0] if self.best_step is None else self.best_step
        return self.steps[-1] - since >= self.patience

    def as_dict(self) -> dict[str, Any]:
        """
        Return the state as JSON values, for a checkpoint.
        """
        return {
            "patience": self.patience,
            "min_delta": self.min_delta,
            "steps": list(self.steps),
            "losses": list(self.losses),
            "best": self.best,
            "best_step": self.best_step,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EarlyStop:
        """
        Return the state that ``as_dict`` wrote, made again from its looks.

        Raises:
            ModelError: The fields are no such state, or contradict each other.
        """
        try:
            state = cls(int(fields["patience"]), float(fields["min_delta"]))
            for step, loss in zip(fields["steps"], fields["losses"], strict=True):
                state = state.seen(int(step), None if loss is None else float(loss))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"early-stop state: {type(error).__name__}: {error}") from error
        wrong = [k for k, v in state.as_dict().items() if k not in fields or fields[k] != v]
        if wrong:
            raise ModelError(f"early-stop state: {', '.join(wrong)} contradicts its looks")
        return state

    def evidence(self, plan_digest: str) -> dict[str, Any]:
        """
        Return what the manifest of a stopped job says for itself, under ``early_stop``.

        Args:
            plan_digest: Digest of the plan whose steps were counted.
        """
        return {**self.as_dict(), "plan_digest": plan_digest}


def why_incomplete(
    manifest: Mapping[str, Any], *, planned_steps: int, patience: int, min_delta: float
) -> str | None:
    """
    Return why a candidate is not the end of its job, or None if it is.

    It is the end if every planned step was made, or if it carries evidence
    of its own plan whose losses, replayed through the configured rule, stop the
    job at exactly the step of its weights.

    Args:
        manifest: Of the candidate: ``job_steps`` (optimizer steps made),
            ``plan_digest``, and for a stopped job ``early_stop``.
        planned_steps: Optimizer steps of the whole plan, > 0.
        patience: As configured for the job; 0 accepts no early stop.
        min_delta: As configured for the job.

    Returns:
        A phrase for the log, or None for a complete candidate. No manifest, however
        damaged, makes it raise.
    """
    made = manifest.get("job_steps")
    if not isinstance(made, int) or isinstance(made, bool) or not 1 <= made <= planned_steps:
        return f"{made!r} steps of {planned_steps}"
    if made == planned_steps:
        return None
    short = f"{made} steps of {planned_steps}"
    evidence = manifest.get("early_stop")
    if not isinstance(evidence, Mapping):
        return f"{short} and no evidence of an early stop"
    digest = manifest.get("plan_digest")
    if not isinstance(digest, str) or not digest or evidence.get("plan_digest") != digest:
        return f"{short} and evidence of another plan"
    try:
        state = EarlyStop.from_dict(evidence)
    except ModelError as error:
        return f"{short} and {error}"
    if (state.patience, state.min_delta) != (patience, min_delta):
        return f"{short} and evidence under another rule than the configured one"
    if not state.should_stop:
        return f"{short} and evidence that does not justify the stop"
    if state.steps[-1] != made:
        return f"{short} and evidence of step {state.steps[-1]}"
    return None
