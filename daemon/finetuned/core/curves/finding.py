"""
What is said of a learning curve, and of what to change: values with their evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from finetuned.core.curves.series import Series

Number = float | int | None


class Kind(StrEnum):
    """
    Names of findings; programs may rely on them.
    """

    FALLING = "still_falling"
    PLATEAU = "plateau"
    OVERFITTING = "overfitting"
    UNDERFITTING = "underfitting"
    SPIKES = "spikes"
    DIVERGENCE = "divergence"
    RATE_TOO_HIGH = "learning_rate_too_high"
    RATE_TOO_LOW = "learning_rate_too_low"
    FEW_HELD_OUT = "too_few_held_out_rows"
    NO_HELD_OUT = "no_held_out_loss"
    NOTHING_LEARNT = "nothing_learnt"
    TOO_SHORT = "too_few_steps"
    DRIFT = "drift"
    SLOWER = "throughput_fell"


ALARMS = frozenset(
    {
        *(Kind.OVERFITTING, Kind.UNDERFITTING, Kind.PLATEAU, Kind.SPIKES, Kind.DIVERGENCE),
        *(Kind.RATE_TOO_HIGH, Kind.RATE_TOO_LOW, Kind.SLOWER),
    }
)
"""Findings that noise without any shape must not cause."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that the curves show.
    """

    kind: Kind
    sentence: str
    step: int | None = None
    """Since when, or where; None if it is of the whole job."""
    p: float | None = None
    """p-value of the test that shows it; None if no test is needed."""
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Advice:
    """
    What to change, by a named rule.
    """

    rule: str
    sentence: str
    because: tuple[Kind, ...]
    """The findings that it follows from."""
    numbers: Mapping[str, Number] = field(default_factory=dict)


_NONE = Series()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobCurves:
    """
    All that was recorded of one training job, by its optimizer steps. What is unknown is empty.
    """

    loss: Series = _NONE
    """Mean loss of each step's rows, in nats per supervised token."""
    held_out: Series = _NONE
    """Loss on held-out rows, in nats per token."""
    held_out_fixed: bool = False
    """Whether all its values are of the same rows."""
    held_out_rows: int | None = None
    """Held-out rows of the job."""
    accuracy: Series = _NONE
    """Share of right answers of each look, 0 to 1."""
    grad_norm: Series = _NONE
    learning_rate: Series = _NONE
    kl: Series = _NONE
    """Divergence from the model that the job started from, in nats per token."""
    tokens_per_second: Series = _NONE
    skipped: tuple[int, ...] = ()
    """Steps that were left out, as loss or gradient was not finite."""
    planned_steps: int | None = None
    """Steps of the whole job, None if it is not known."""
    kl_warning: float | None = None
    """evaluation.kl_warning, in the unit of kl."""
    min_delta: float = 0.01
    """Nats of held-out loss that matter: training.min_delta."""

    @property
    def last_step(self) -> int:
        """The last step that was recorded, 0 if there is none."""
        return max(
            (*self.loss.steps[-1:], *self.held_out.steps[-1:], *self.skipped[-1:]), default=0
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What one job's curves show, and what to change.
    """

    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...]

    def has(self, kind: Kind) -> bool:
        """Return whether a finding of this kind is among them."""
        return any(f.kind is kind for f in self.findings)
