"""
One run that has a worker, from its start until its end is recorded.

Ingestion, training, evaluation and the watch after a promotion share this life:
a folder with a spec, a row in the journal, a worker that is told the folder, a
heartbeat, a time limit, an end. What the end means is decided by whoever
started the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from finetuned.core.action import StopCause
from finetuned.core.phase import Phase
from finetuned.core.run import RunKind
from finetuned.core.run_end import RunObservation
from finetuned.errors import RecordError
from finetuned.files.heartbeat import HEARTBEAT, Beat, read_beat
from finetuned.files.run import (
    EXIT,
    OUTPUT,
    RunError,
    RunExit,
    read_error,
    read_exit,
    was_taken_up,
)
from finetuned.files.spec import RunSpec, create_run
from finetuned.process.child import WorkerProcess
from finetuned.process.launch import Launch
from finetuned.process.spares import WaitingWorkers
from finetuned.supervisor.context import Context

log = structlog.get_logger()

T = TypeVar("T")


@dataclass
class SupervisedRun:
    """
    A run and its worker, as seen from outside: reads the run folder and asks after the process.

    A file of the folder that is not what this version of the program writes is logged once and
    counts as missing, so that the run still ends: by its worker's end, or by a time limit.
    """

    id: str
    kind: RunKind
    folder: Path
    worker: WorkerProcess
    reused: bool = False
    """Whether the worker had waited for a run, and was not started for this one."""
    may_stay: bool = False
    """Whether the worker may wait for another run after this one."""
    asked: StopCause | None = None
    """Why it was asked to stop, if it was."""
    asked_at: float = 0.0
    """When, on the monotonic clock, in seconds."""
    heartbeat: Beat | None = None
    """The last one, None before the first."""
    progress_at: float = field(default_factory=time.monotonic)
    """When it last showed progress, on the monotonic clock, in seconds."""
    leaving_since: float | None = None
    """When its exit record was first seen beside a live process, on the same clock."""
    unreadable: set[str] = field(default_factory=set)
    """Paths of the files that were logged as unreadable."""
    unread_mtime_ns: int = 0
    """Time of the last heartbeat that could not be read."""

    # -- what is seen -----------------------------------------------------------

    def read_heartbeat(self) -> Beat | None:
        """
        Return the heartbeat if it is new, and remember it.
        """
        beat = self._read(read_beat)
        known = -1 if self.heartbeat is None else self.heartbeat.beats
        if beat is None or beat.beats == known:
            self._note_unread_heartbeat()
            return None
        self.heartbeat, self.progress_at = beat, time.monotonic()
        return beat

    def _note_unread_heartbeat(self) -> None:
        """Count a heartbeat that cannot be read, but was written again, as progress."""
        path = self.folder / HEARTBEAT
        if str(path) not in self.unreadable:
            return
        with suppress(OSError):
            mtime_ns = path.stat().st_mtime_ns
            if mtime_ns != self.unread_mtime_ns:
                self.unread_mtime_ns, self.progress_at = mtime_ns, time.monotonic()

    def _read(self, read: Callable[[Path], T | None]) -> T | None:
        try:
            return read(self.folder)
        except RecordError as error:
            if error.source not in self.unreadable:
                self.unreadable.add(error.source)
                log.warning("run_file_unreadable", run_id=self.id, error=str(error))
            return None

    @property
    def phase(self) -> Phase:
        """What the worker says it is doing."""
        said = None if self.heartbeat is None else self.heartbeat.phase
        return said or Phase.STARTING_WORKER

    @property
    def pid(self) -> int:
        """Process id of the worker; of rank 0, once it is known, if there are several."""
        return self.worker.pid if self.heartbeat is None else self.heartbeat.pid

    @property
    def exit_record(self) -> RunExit | None:
        """The record that the run is over, None while its worker has not written it."""
        return self._read(read_exit)

    @property
    def has_exit_record(self) -> bool:
        """Whether the exit record is there; costs one look at a name."""
        return (self.folder / EXIT).exists()

    @property
    def error(self) -> RunError | None:
        """The worker's error record, None if it left none."""
        return self._read(read_error)

    def observe(self) -> RunObservation:
        """
        Return what can be seen of the run now.
        """
        process = self.worker.poll()  # first: a worker that is gone writes no more
        ended = self.exit_record
        if self.leaving_since is None and (ended is not None or self.worker.orphaned):
            self.leaving_since = time.monotonic()
        error = self.error
        return RunObservation(
            said=None if ended is None else ended.status,
            stays=ended is not None and ended.stays,
            process=process,
            taken_up=was_taken_up(self.folder),
            asked=self.asked is not None,
            launched=self.worker.launched,
            refused=error is not None and error.reason is not None,
        )

    # -- what is done -----------------------------------------------------------

    def stop(self, cause: StopCause) -> None:
        """
        Ask the worker to stop, once: it checkpoints and ends its run.
        """
        if self.asked is None:
            self._remember(cause)
            self.worker.stop()

    def kill_if_overdue(self, *, stuck_seconds: float, stop_seconds: float) -> str | None:
        """
        Kill the worker if it exceeds a time limit, and return which.

        Args:
            stuck_seconds: How long it may show no progress.
            stop_seconds: How long it may take to stop when asked, or to end after its
                exit record.
        """
        cause = self._overdue(stuck_seconds, stop_seconds)
        if cause is None:
            return None
        if self.asked is None and self.leaving_since is None and not self._ended_unreadably:
            self._remember(StopCause.STUCK)
        self.worker.kill()
        return cause

    def _overdue(self, stuck_seconds: float, stop_seconds: float) -> str | None:
        now = time.monotonic()
        if self._ended_unreadably:
            return "its exit record cannot be read"  # its work is done: nothing is cut short
        if self.leaving_since is not None:
            late = now - self.leaving_since > stop_seconds
            return "did not leave after its run" if late else None
        if self.asked is not None:
            return "did not stop in time" if now - self.asked_at > stop_seconds else None
        return "no progress" if now - self.progress_at > stuck_seconds else None

    @property
    def _ended_unreadably(self) -> bool:
        """Whether the run is over by a record that is not what this version writes."""
        return str(self.folder / EXIT) in self.unreadable and self.has_exit_record

    def _remember(self, cause: StopCause) -> None:
        self.asked, self.asked_at = cause, time.monotonic()

    def give_to(self, worker: WorkerProcess) -> None:
        """
        Have a fresh worker do the run; the one that died while it waited is let go.
        """
        self.worker.close()
        self.worker, self.reused, self.progress_at = worker, False, time.monotonic()
        worker.assign(self.folder)


def spawn(
    context: Context, kind: RunKind, *, launch: Path | None = None, run_dir: Path | None = None
) -> WorkerProcess:
    """
    Start a worker; it does its imports and waits to be told a run.

    Args:
        context: Shared state.
        kind: Of the runs that it can do.
        launch: The file by which ``accelerate launch`` starts it on several devices, for
            the run in *run_dir* alone.
        run_dir: Given with *launch*.

    Raises:
        OSError: It could not be started.
    """
    layout = context.layout
    if launch is None or run_dir is None:
        return WorkerProcess(kind, cwd=layout.root, log=layout.logs / "workers.log")
    grace = context.config.supervisor.worker_stop_seconds
    log_file = run_dir / OUTPUT
    return WorkerProcess(kind, cwd=layout.root, log=log_file, launch=Launch(launch, run_dir, grace))


def _nothing() -> None:
    pass


def start_run(
    context: Context,
    spec: RunSpec,
    *,
    job_id: str | None = None,
    resumed_from: str | None = None,
    spares: WaitingWorkers | None = None,
    launch: Path | None = None,
    recorded: Callable[[], None] = _nothing,
) -> SupervisedRun:
    """
    Make the run folder, record the run, and tell a worker of it.

    Args:
        context: Shared state.
        spec: What the worker is asked to do.
        job_id: The job that it is a run of, if any.
        resumed_from: The run whose checkpoints it goes on from, if any.
        spares: Where a worker of this kind may wait for a run.
        launch: As for spawn; then no worker may wait beside it.
        recorded: Called once the journal has the run and before a worker knows of it: moves
            the job.

    Raises:
        OSError, sqlite3.OperationalError: The file system refused; there is no worker.
        Exception: What *recorded* raised; likewise.
    """
    folder = context.layout.runs / spec.run_id
    create_run(folder, spec)
    # The canaries of a watch are asked by an evaluation worker.
    kind = RunKind.EVALUATION if spec.kind is RunKind.WATCH else spec.kind
    worker = None if spares is None or launch is not None else spares.take(kind)
    reused = worker is not None
    if worker is None:
        worker = spawn(context, kind, launch=launch, run_dir=folder)
    try:
        runs = context.journal.runs
        runs.add(spec.run_id, spec.kind, job_id=job_id, resumed_from=resumed_from)
        runs.note_process(spec.run_id, pid=worker.pid, pid_started=worker.started)
        recorded()
    except BaseException:
        worker.dismiss()  # it was told of no run, so nobody else would ever end it
        raise
    worker.assign(folder)
    may_stay = spec.worker_growth is not None
    return SupervisedRun(spec.run_id, spec.kind, folder, worker, reused, may_stay)
