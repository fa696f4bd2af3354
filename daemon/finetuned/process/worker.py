"""
The main loop of a worker process: imports, then run after run, each under its run's lock.

Writes how each run ended into the run folder. Does not know what a run does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from finetuned.errors import (
    EXIT_OK,
    EXIT_SOFTWARE,
    EXIT_TEMPFAIL,
    ConfigError,
    FinetunedError,
    RecordError,
    Unavailable,
)
from finetuned.files.lock import FileLock
from finetuned.files.rank import rank, world
from finetuned.files.refusal import refusal_reason
from finetuned.files.run import LOCK, redirect_output, write_error, write_exit
from finetuned.files.spec import RunSpec, read_spec
from finetuned.process.lifeline import SUPERVISED, Lifeline
from finetuned.process.memory import Idle, MemoryLimit

S = TypeVar("S", bound=RunSpec)

Work = Callable[[Path, S, Lifeline], None]
"""What one kind of worker does with a run folder and its spec."""


def run_worker(
    argv: list[str] | None,
    *,
    spec: type[S],
    warm_up: Callable[[], object],
    work: Work[S],
    idle: Idle | None = None,
    stop_seconds: float | None = None,
) -> int:
    """
    Do the imports, then one run after the other, and return the exit status.

    A worker that is told its runs by standard input can be started before there
    is work for it. It stays after a run that ended well if the run's spec allows
    that; what *work* keeps (a model, an optimizer) is there for the next run.
    After any other end it leaves.

    Args:
        argv: The run folder, or nothing to be told by standard input.
        spec: What the runs of this worker are told.
        warm_up: Does the imports, before the run is known, so that a worker that
            is started early begins its run sooner.
        work: Does one run.
        idle: Called before waiting for another run, to give back the memory of the
            device to the other kinds of worker.
        stop_seconds: The process is ended if the work has not returned so long after a
            stop was asked for; None leaves that to the supervisor.

    Returns:
        0 done, 70 a bug, 75 stopped or refused by the file system, else the status
        of the error that ended the last run. The error is in the run folder.
    """
    lifeline = Lifeline(grace_seconds=stop_seconds)
    lifeline.install()
    given = sys.argv[1:] if argv is None else argv
    if not given or SUPERVISED in os.environ:
        lifeline.watch_stdin()
    warm_up()
    memory = MemoryLimit(idle)
    if given:
        status, _ = _run_once(Path(given[0]), spec, work, lifeline, memory)
        if status == EXIT_OK and world() > 1:
            _exit_at_once()
        return status
    status, stays = EXIT_OK, True
    while stays and (run_dir := lifeline.next_run()) is not None:
        status, stays = _run_once(run_dir, spec, work, lifeline, memory)
    if status == EXIT_OK:
        _exit_at_once()
    return status


def _exit_at_once() -> None:
    """
    End the process without the interpreter's clean-up.

    That keeps memory for seconds, and aborts a process of several whose neighbour has left first.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_OK)


def _run_once(
    run_dir: Path, kind: type[S], work: Work[S], lifeline: Lifeline, memory: MemoryLimit
) -> tuple[int, bool]:
    """Do one run and return its status and whether this process takes another."""
    if rank() != 0:  # only rank 0 locks the folder and writes how the run ended
        return _do(run_dir, kind, work, lifeline)[0], False
    try:
        redirect_output(run_dir)
        with FileLock(run_dir / LOCK):
            status, growth = _do(run_dir, kind, work, lifeline)
            stays = (
                status == EXIT_OK
                and growth is not None
                and not lifeline.stopping
                and memory.permits_another_run(growth)
            )
            try:
                write_exit(run_dir, status, stays=stays)
            except OSError:
                stays = False  # without the record, only the end of the process shows the status
            return status, stays
    except (OSError, FinetunedError) as error:
        return _record_failure(run_dir, error), False


def _do(
    run_dir: Path, kind: type[S], work: Work[S], lifeline: Lifeline
) -> tuple[int, float | None]:
    """Do the work of one run; return its status and its spec's worker_growth."""
    growth = None
    try:
        spec = _spec(run_dir, kind)
        growth = spec.worker_growth
        work(run_dir, spec, lifeline)
    except Exception as error:  # whatever it is, the run folder must say it
        return _record_failure(run_dir, error), growth
    return EXIT_OK, growth


def _spec(run_dir: Path, kind: type[S]) -> S:
    """
    Return what the run is told.

    A spec of other keys costs no job an attempt and blames no file: a program that was updated
    under a running daemon starts workers that no spec of that daemon is for.
    """
    try:
        return read_spec(run_dir, kind)
    except RecordError as error:
        raise ConfigError(
            f"{error}; the daemon and its workers are of different versions: restart the daemon"
        ) from error


def _record_failure(run_dir: Path, error: Exception) -> int:
    """Write *error* into the run folder and return the exit status for it."""
    if isinstance(error, OSError):
        write_error(run_dir, Unavailable(refusal_reason(error), str(error)))
        return EXIT_TEMPFAIL
    write_error(run_dir, error)
    return error.exit_status if isinstance(error, FinetunedError) else EXIT_SOFTWARE
