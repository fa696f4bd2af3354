"""
The workers of a search: one at a time, at low priority, told a run folder as the daemon does it.

A worker that ended its run well may stay for the next one, with its imports and its model.
Does not know trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from finetuned.config import SupervisorConfig
from finetuned.core.run import RunKind
from finetuned.errors import FinetunedError, Interrupted, LockHeld, RecordError
from finetuned.files.heartbeat import Beat, read_beat
from finetuned.files.lock import is_locked
from finetuned.files.run import LOCK, OUTPUT, RunError, RunExit, read_error, read_exit
from finetuned.files.run import was_taken_up as taken_up
from finetuned.files.spec import RunSpec, create_run
from finetuned.layout import Layout
from finetuned.process.child import WorkerProcess
from finetuned.process.priority import lower_priority
from finetuned.process.spares import WaitingWorkers

log = structlog.get_logger()

_LOOK_SECONDS = 0.05
"""How often a run folder is looked at: well below what an optimizer step takes."""


class Order(StrEnum):
    """
    What becomes of a run now.
    """

    GO_ON = "go_on"
    STOP = "stop"  # at the next step, with a checkpoint: it will be continued
    END = "end"  # at once: nobody needs what it would still do


@dataclass(frozen=True, slots=True)
class RunEnd:
    """
    How a run ended.
    """

    status: int
    """Exit status, minus the signal's number if a signal ended the worker."""
    ordered: Order
    """What it was last told."""
    error: RunError | None


class StudyWorkers:
    """
    Owns the worker that runs, or waits for its next run.
    """

    def __init__(
        self,
        layout: Layout,
        config: SupervisorConfig,
        log_file: Path,
        *,
        gives_way: bool = True,
    ) -> None:
        """
        Args:
            layout: The root.
            config: Time limits of workers, and whether one may stay.
            log_file: What a worker says before it knows its run is appended there.
            gives_way: Whether workers have the lowest priority; a measurement of a search, on
                a machine of its own, has no one to give way to.
        """
        self._gives_way = gives_way
        self._layout = layout
        self._config = config
        self._log_file = log_file
        self._waiting = WaitingWorkers()

    @property
    def growth(self) -> float | None:
        """``worker_growth`` of the next spec."""
        return self._config.worker_growth if self._config.warm_worker_seconds else None

    def run(self, folder: Path, spec: RunSpec, watch: Callable[[Beat | None], Order]) -> RunEnd:
        """
        Have a worker do the run that *spec* describes, and return how it ended.

        Args:
            folder: Of the run; made here.
            spec: What the worker is asked to do.
            watch: Called often with the newest heartbeat; says whether the run goes on.

        Raises:
            OSError: The file system refused.
            KeyboardInterrupt: As raised by a signal; the worker was stopped with a checkpoint.
        """
        create_run(folder, spec)
        worker = self._take(spec.kind)
        worker.assign(folder)
        try:
            status, ordered, stays = self._follow(worker, folder, watch)
        except BaseException:
            self._stop(worker)
            raise
        if stays:
            self._waiting.keep(worker)
        else:
            self._reap(worker)
        return RunEnd(status, ordered, _error_of(folder))

    def rest(self) -> None:
        """
        End the worker that waits, so that its memory is free.
        """
        self._waiting.dismiss()

    def _take(self, kind: RunKind) -> WorkerProcess:
        worker = self._waiting.take(kind)
        if worker is not None:
            return worker
        self._waiting.dismiss()  # of another kind: two of them may not fit into memory
        worker = WorkerProcess(kind, cwd=self._layout.root, log=self._log_file)
        if self._gives_way:
            lower_priority(worker.pid)
        return worker

    def _follow(
        self, worker: WorkerProcess, folder: Path, watch: Callable[[Beat | None], Order]
    ) -> tuple[int, Order, bool]:
        """Return exit status, the last order, and whether the worker stays."""
        ordered, asked_at, progress_at, beats = Order.GO_ON, 0.0, time.monotonic(), -1
        while True:
            process = worker.poll()
            if (ended := _exit_of(folder)) is not None and (ended.stays or process is not None):
                return ended.status, ordered, ended.stays and process is None
            if process is not None:
                return process, ordered, False
            beat, now = _beat_of(folder), time.monotonic()
            if beat is not None and beat.beats != beats:
                beats, progress_at = beat.beats, now
            if ordered is Order.GO_ON and (ordered := watch(beat)) is not Order.GO_ON:
                asked_at = now
                worker.stop() if ordered is Order.STOP else worker.kill()
            late = ordered is Order.STOP and now - asked_at > self._config.worker_stop_seconds
            if late or now - progress_at > self._config.worker_stuck_seconds:
                log.warning("worker_killed", run_id=folder.name, cause="late" if late else "stuck")
                worker.kill()
                progress_at = asked_at = now
            time.sleep(_LOOK_SECONDS)

    def _stop(self, worker: WorkerProcess) -> None:
        """Stop a worker whose run is given up by this process, and wait for its checkpoint."""
        worker.stop()
        deadline = time.monotonic() + self._config.worker_stop_seconds
        while worker.poll() is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        worker.dismiss()

    def _reap(self, worker: WorkerProcess) -> None:
        """Wait for the end of a worker that wrote its last record."""
        worker.close()
        deadline = time.monotonic() + self._config.worker_stop_seconds
        while worker.poll() is None and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if worker.poll() is None:
            worker.dismiss()


def wait_until_left(run: Path, *, patience: float) -> None:
    """
    Wait until the worker of an earlier process has left *run*: it writes a checkpoint and goes.

    Raises:
        LockHeld: It is still there after *patience* seconds.
    """
    deadline = time.monotonic() + patience
    while is_locked(run / LOCK):
        if time.monotonic() > deadline:
            owner = (run / LOCK).read_text("utf-8", "replace").strip() or "another process"
            raise LockHeld(run / LOCK, owner)
        time.sleep(_LOOK_SECONDS)


def was_never_begun(run: Path) -> bool:
    """
    Return whether no worker took *run* up: its worker ended while it waited.
    """
    return not taken_up(run)


def failure(what: str, run: Path, end: RunEnd) -> FinetunedError:
    """
    Return the error that says how *run* ended, and where more about it is written.

    Args:
        what: What was being done, for people.
        run: Its folder.
        end: How it ended.
    """
    said = end.error.error_message if end.error is not None else f"status {end.status}"
    return Interrupted(f"{what}: {said} ({run / OUTPUT} has what the worker printed)")


def _exit_of(folder: Path) -> RunExit | None:
    try:
        return read_exit(folder)
    except RecordError:
        return None


def _beat_of(folder: Path) -> Beat | None:
    try:
        return read_beat(folder)
    except RecordError:
        return None


def _error_of(folder: Path) -> RunError | None:
    try:
        return read_error(folder)
    except RecordError:
        return None
