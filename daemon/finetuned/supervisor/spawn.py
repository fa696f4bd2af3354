"""
Worker processes: started in their own process group, asked to stop, killed, reaped.

Knows processes; does not know what they do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from finetuned.files.lock import is_locked
from finetuned.files.run import LOCK
from finetuned.telemetry import notify

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]

MODULES = {
    "ingestion": "finetuned.ingestion.worker",
    "training": "finetuned.training.worker",
    "evaluation": "finetuned.evaluation.worker",
}


class WorkerProcess:
    """
    One worker: born idle, told its run folder by one line, owned until reaped.
    """

    def __init__(self, kind: str, *, cwd: Path, log: Path) -> None:
        """
        Start the process; it does its imports and waits for a run folder.

        Args:
            kind: ingestion, training or evaluation.
            cwd: Its working directory.
            log: Where its standard output and error go, appended.

        Raises:
            OSError: It could not be started.
        """
        self.kind = kind
        environment = {
            **os.environ,
            # Nothing in the daemon reaches for a network; a missing base says so.
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # Threads that wait must not burn the core that another process needs: on a
            # shared machine the default made training several times slower.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive"),
            "PYTHONPATH": os.pathsep.join(
                p for p in (str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH")) if p
            ),
        }
        # sd_notify is the supervisor's: a worker must not speak to systemd for it.
        for name in notify.VARIABLES:
            environment.pop(name, None)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULES[kind]],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started = process_started(self.pid)
        self.run_dir: Path | None = None

    def assign(self, run_dir: Path) -> None:
        """
        Tell the worker its run folder. A worker that is gone already shows that in poll().
        """
        self.run_dir = run_dir
        if self._process.stdin is None:
            return
        try:
            self._process.stdin.write(os.fsencode(run_dir) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def poll(self) -> int | None:
        """
        Return the exit status, minus the signal number if a signal killed it, or None.
        """
        return self._process.poll()

    def stop(self) -> None:
        """
        Ask for a graceful stop.
        """
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """
        End the whole process group at once.
        """
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """
        Close the pipe; the worker takes that as the end of its supervisor.
        """
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass


def process_started(pid: int) -> float | None:
    """
    Return when *pid* began, in seconds since the epoch: with the pid it names one process.
    """
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def end_orphan(run_dir: Path, pid: int | None, started: float | None, *, patience: float) -> bool:
    """
    See to it that the worker of an earlier supervisor is gone.

    It has noticed the end of its pipe and is checkpointing; it gets *patience*
    seconds for that, then it is killed. Only a process with the recorded pid and
    start time is ever signalled.

    Returns:
        Whether something had to be killed.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if not is_locked(run_dir / LOCK) and not _same_process(pid, started):
            return False
        time.sleep(0.05)
    if pid is not None and _same_process(pid, started):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        while _same_process(pid, started):
            time.sleep(0.02)
        return True
    return False


def _same_process(pid: int | None, started: float | None) -> bool:
    if pid is None or started is None:
        return False
    try:
        process = psutil.Process(pid)
        return (
            abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False
