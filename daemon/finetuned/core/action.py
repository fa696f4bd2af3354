"""
The steps that the supervisor may take, as values.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from finetuned.layout import Priority


class StopCause(StrEnum):
    STOP = "stop"  # the daemon is leaving
    PAUSE = "pause"
    SKIP = "skip"
    STUCK = "stuck"  # no sign of progress: killed, not asked


@dataclass(frozen=True, slots=True)
class Claim:
    """Take the stable files out of the inbox."""


@dataclass(frozen=True, slots=True)
class StartIngestion:
    """Validate the claimed files."""


@dataclass(frozen=True, slots=True)
class StopIngestion:
    """End validation; it starts again from the claimed files."""


@dataclass(frozen=True, slots=True)
class MakeJob:
    """Queue these datasets as one job."""

    keys: tuple[str, ...]
    priority: Priority


@dataclass(frozen=True, slots=True)
class StartTraining:
    job_id: str


@dataclass(frozen=True, slots=True)
class StartEvaluation:
    job_id: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Ask the worker to checkpoint and leave."""

    cause: StopCause


@dataclass(frozen=True, slots=True)
class SkipJob:
    """End a job that has no worker."""

    job_id: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Start a training worker ahead of time unless one is idle."""


@dataclass(frozen=True, slots=True)
class CoolDown:
    """End a training worker that waits for work."""


@dataclass(frozen=True, slots=True)
class AskCanaries:
    """Ask the version in use the canaries again, before the device has other work."""


@dataclass(frozen=True, slots=True)
class DismissWatch:
    """End that; the canaries are asked later."""


@dataclass(frozen=True, slots=True)
class Leave:
    """End the daemon."""


Action = (
    Claim
    | StartIngestion
    | StopIngestion
    | MakeJob
    | StartTraining
    | StartEvaluation
    | StopWorker
    | SkipJob
    | WarmUp
    | CoolDown
    | AskCanaries
    | DismissWatch
    | Leave
)
