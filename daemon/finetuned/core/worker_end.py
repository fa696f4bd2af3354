"""
What the end of a worker process means for its job. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.core.action import StopCause
from finetuned.core.job import JobEvent
from finetuned.errors import EXIT_CONFIG, EXIT_DATAERR, EXIT_OK, EXIT_TEMPFAIL


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """
    How a worker process ended.
    """

    exit_status: int
    """0 to 255, or minus the signal that killed it."""
    asked: StopCause | None
    refused: str | None
    """What the file system refused it (disk_full ...), from its error record."""
    message: str


def judge_end(end: WorkerEnd, *, attempts: int, max_attempts: int) -> JobEvent:
    """
    Say what the end of a worker means for its job.

    Stops, refusals of the file system and a wrong configuration cost nothing;
    a crash, a bug or a hang costs one attempt.

    Args:
        end: How it ended.
        attempts: Failures the job had before, >= 0.
        max_attempts: Failures it may have, >= 1.
    """
    if end.asked is StopCause.SKIP:
        return JobEvent.SKIP
    if end.exit_status == EXIT_OK:
        return JobEvent.FINISH
    if end.exit_status == EXIT_DATAERR:
        return JobEvent.FAIL
    if end.exit_status in (EXIT_TEMPFAIL, EXIT_CONFIG) or end.refused is not None:
        return JobEvent.INTERRUPT
    if end.asked in (StopCause.STOP, StopCause.PAUSE):
        return JobEvent.INTERRUPT  # it had to be killed to obey; its checkpoint stands
    return JobEvent.RETRY if attempts + 1 < max_attempts else JobEvent.FAIL
