"""
One run that has a worker, as the supervisor sees it: its heartbeat and its end.

Reads the run folder and asks after the process; decides nothing and records nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetuned.core.decide import StopCause
from finetuned.core.job import JobEvent
from finetuned.core.run_end import RunObservation
from finetuned.files.run import (
    ERROR,
    EXIT,
    HEARTBEAT,
    RunExit,
    read_exit,
    read_json,
    was_taken_up,
)
from finetuned.process.child import WorkerProcess


@dataclass
class LiveRun:
    """
    A run from its start until its end is recorded.
    """

    id: str
    job_id: str
    kind: str
    """training or evaluation"""
    folder: Path
    worker: WorkerProcess
    reused: bool
    """Whether the worker was alive and waiting before this run."""
    may_stay: bool = False
    """Whether the worker may wait for another run after this one."""
    next_worker_started: bool = False
    """Whether the worker of the run that comes after it was seen to."""
    asked: StopCause | None = None
    """Why it was asked to stop, if it was."""
    asked_at: float = 0.0
    """When, on the monotonic clock, in seconds."""
    beat: dict[str, Any] = field(default_factory=dict)
    """Its last heartbeat."""
    progress_at: float = field(default_factory=time.monotonic)
    """When it last showed progress, on the monotonic clock, in seconds."""
    leaving_since: float | None = None
    """When it was first seen to have said its last word and still live."""
    ready_logged: bool = False
    """Whether the log says how it trains."""
    judged: JobEvent | None = None
    """What its end meant for the job, once the job was moved: that happens once."""

    def take_beat(self) -> bool:
        """
        Read the heartbeat; return whether there is a new one.
        """
        beat = read_json(self.folder / HEARTBEAT)
        if beat is None or beat.get("beats") == self.beat.get("beats", -1):
            return False
        self.beat = beat
        self.progress_at = time.monotonic()
        return True

    def ask(self, cause: StopCause) -> None:
        """
        Remember that the worker was asked to stop, or killed, and why.
        """
        self.asked, self.asked_at = cause, time.monotonic()

    def signs(self) -> RunObservation:
        """
        Return what can be seen of the run now.
        """
        process = self.worker.poll()  # first: a worker that is gone writes no more
        word = self.last_word
        if self.leaving_since is None and (word is not None or self.worker.orphaned):
            self.leaving_since = time.monotonic()
        return RunObservation(
            said=None if word is None else word.status,
            stays=word is not None and word.stays,
            process=process,
            taken_up=was_taken_up(self.folder),
            asked=self.asked is not None,
            launched=self.worker.launched,
            refused=self.error.get("reason") is not None,
        )

    @property
    def last_word(self) -> RunExit | None:
        """What exit.json says, None while there is none."""
        return read_exit(self.folder)

    @property
    def has_last_word(self) -> bool:
        """Whether exit.json is there; costs one look at a name."""
        return (self.folder / EXIT).exists()

    @property
    def error(self) -> dict[str, Any]:
        """The error that the worker left, {} for none."""
        return read_json(self.folder / ERROR) or {}

    def overdue(self, *, stuck_seconds: float, stop_seconds: float) -> str | None:
        """
        Return why the worker must be killed now, or None.

        Args:
            stuck_seconds: How long it may show no progress.
            stop_seconds: How long it may take to stop when asked, or to leave after
                its last word.
        """
        now = time.monotonic()
        if self.leaving_since is not None:
            late = now - self.leaving_since > stop_seconds
            return "did not leave after its run" if late else None
        if self.asked is not None:
            return "did not stop in time" if now - self.asked_at > stop_seconds else None
        return "no progress" if now - self.progress_at > stuck_seconds else None
