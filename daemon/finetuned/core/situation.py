"""
What the supervisor sees before it decides, as values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetuned.core.action import StopCause
from finetuned.core.job import JobState
from finetuned.core.run import RunKind
from finetuned.layout import Priority


@dataclass(frozen=True, slots=True)
class WorkerView:
    """
    A live worker process.
    """

    kind: RunKind
    job_id: str
    stopping: StopCause | None
    """Why it was asked to stop, or None."""


@dataclass(frozen=True, slots=True)
class JobView:
    """
    A job that waits for a worker.
    """

    id: str
    state: JobState
    priority: Priority
    not_before: float = 0.0
    """Monotonic time of the next try, in seconds."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    A validated dataset that has no job yet.
    """

    key: str
    priority: Priority
    n_examples: int


@dataclass(frozen=True, slots=True)
class Situation:
    """
    Everything that decides the next step.
    """

    stopping: bool = False
    """The daemon was asked to leave."""
    paused: bool = False
    skip_job: str | None = None
    """The job that a person asked to end."""
    blocked: str | None = None
    """Why nothing new may be started now (disk full ...), or None."""
    stable_files: int = 0
    files_waiting: int = 0
    """Claimable files in the inbox, stable or not."""
    files_held: int = 0
    """Those of them that somebody has open for writing."""
    inbox_overdue: bool = False
    """Whether what lies in the inbox has waited longer than ``until_idle`` waits for it."""
    claimed: int = 0
    """Claimed files that are not validated yet."""
    accepted: Sequence[Accepted] = ()
    jobs: Sequence[JobView] = ()
    worker: WorkerView | None = None
    watch_due: bool = False
    """Whether the version in use is to be asked the canaries again."""
    watching: bool = False
    """Whether it is being asked now."""
    keeps_worker: bool = False
    """Whether a training worker waits for a run."""
    ingesting: bool = False
    unretired: int = 0
    """Finished jobs whose originals are not in their last place yet."""
    keep_warm: bool = False
    """Whether a job ended so recently that a warm worker is worth keeping."""
    until_idle: bool = False
    scanned: bool = False
    """Whether the last scan shows all that lies in the inbox."""
