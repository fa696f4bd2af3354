"""
Worker processes that outlive the process that started them: found and ended.

Used for the ranks of a launcher that is gone and for the workers of an earlier
supervisor. Knows processes and the lock of a run folder; does not know jobs.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from finetuned.core.run import RunKind
from finetuned.files.lock import is_locked
from finetuned.files.run import LOCK
from finetuned.process.launch import MODULES

GONE_SECONDS = 2.0
"""How long a killed process is waited for; the kernel needs milliseconds."""


def process_started(pid: int) -> float | None:
    """
    Return when process *pid* began, in seconds since the epoch, or None if there is none.

    A pid alone may be given to another process later; pid and start time name one process.
    """
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def processes_of(run_dir: Path) -> list[psutil.Process]:
    """
    Return the live training processes whose command line names *run_dir*.

    Ranks are found by their command line and not by descent, because a process
    that outlives its launcher has no known parent. A worker that was told its run
    folder by its pipe is not found.
    """
    found = []
    wanted = {MODULES[RunKind.TRAINING], str(run_dir)}
    for process in psutil.process_iter():
        try:
            if wanted <= set(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # it ended between the two calls
    return found


def kill_all(processes: list[psutil.Process]) -> None:
    """
    Kill *processes*. psutil leaves a pid alone that belongs to another process by now.
    """
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue


def end_orphan(run_dir: Path, pid: int | None, started: float | None, *, patience: float) -> bool:
    """
    Wait until the worker of an earlier supervisor is gone, and kill it if it stays.

    A worker whose supervisor is gone notices the end of its pipe, writes its
    checkpoint and leaves. Only a process with the recorded pid and start time, or
    a rank of this run, is ever signalled.

    Args:
        run_dir: The run that the worker was given.
        pid: The recorded process, None if it was never started.
        started: Its start time, in seconds since the epoch, None if unknown.
        patience: How long to wait before killing, in seconds.

    Returns:
        Whether a process had to be killed.
    """
    if _left(run_dir, pid, started, patience):
        return False
    killed = pid is not None and _kill_group(pid, started)
    ranks = processes_of(run_dir)
    kill_all(ranks)
    psutil.wait_procs(ranks, timeout=GONE_SECONDS)
    return killed or bool(ranks)


def _left(run_dir: Path, pid: int | None, started: float | None, patience: float) -> bool:
    """Return whether everything that works on *run_dir* ended within *patience* seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (
            not is_locked(run_dir / LOCK)
            and not _is_alive(pid, started)
            and not processes_of(run_dir)
        ):
            return True
        time.sleep(0.05)
    return False


def _kill_group(pid: int, started: float | None) -> bool:
    """Kill the process group of a recorded worker and wait for its end; False if it was gone."""
    if not _is_alive(pid, started):
        return False
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    while _is_alive(pid, started):
        time.sleep(0.02)
    return True


def _is_alive(pid: int | None, started: float | None) -> bool:
    """Return whether the process with this pid and this start time still runs."""
    if pid is None or started is None:
        return False
    try:
        process = psutil.Process(pid)
        return (
            abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False
