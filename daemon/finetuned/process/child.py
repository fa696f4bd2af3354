"""
Worker processes: started in their own process group, asked to stop, killed, reaped.

Knows processes; does not know what they do.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from finetuned.files.lock import is_locked
from finetuned.files.run import LOCK
from finetuned.process import notify
from finetuned.process.lifeline import SUPERVISED

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]

MODULES = {
    "ingestion": "finetuned.ingestion.worker",
    "training": "finetuned.training.worker",
    "evaluation": "finetuned.evaluation.worker",
}


GONE_SECONDS = 2.0
"""How long an idle worker that was killed is waited for: the kernel needs milliseconds."""


@dataclass(frozen=True, slots=True)
class Launch:
    """
    One run on several devices or machines, by ``accelerate launch``.

    The launcher (torch's elastic agent) starts each rank in a session of its own,
    so a signal to the launcher's group reaches the launcher alone. That is wanted:
    it passes one SIGTERM on to every rank and then waits for them. Signalled
    themselves, the ranks would end one by one, and with the first that ends the
    agent sends the others a second SIGTERM, in the middle of their checkpoints.
    After its grace time it kills them; 30 s by default, here what a worker gets.
    """

    config_file: Path
    run_dir: Path
    grace_seconds: float

    def command(self, module: str) -> list[str]:
        """
        Return the arguments after ``python``.
        """
        launcher = ["-m", "accelerate.commands.launch", "--config_file", str(self.config_file)]
        return [*launcher, "-m", module, str(self.run_dir)]


class WorkerProcess:
    """
    One worker: born idle, told its run folders by one line each, owned until reaped.

    Or, with a Launch, a launcher that is told its one run folder at birth; it
    counts as gone when the processes that it started are gone as well.
    """

    def __init__(self, kind: str, *, cwd: Path, log: Path, launch: Launch | None = None) -> None:
        """
        Start the process; it does its imports and waits for a run folder.

        Args:
            kind: ingestion, training or evaluation.
            cwd: Its working directory.
            log: Where its standard output and error go, appended.
            launch: How to start it on several devices, and for which run.

        Raises:
            OSError: It could not be started.
        """
        self.kind = kind
        self._launch = launch
        self._orphaned = False
        environment = {
            **os.environ,
            # Nothing in the daemon reaches for a network; a missing base says so.
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # Threads that wait for each other spin for some microseconds and then sleep. Spinning
            # for long, the default, makes training several times slower once another process
            # wants a core; never spinning makes it 40% slower always.
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
            SUPERVISED: "1",
            "PYTHONPATH": os.pathsep.join(
                p for p in (str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH")) if p
            ),
        }
        if launch is not None:
            environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(math.ceil(launch.grace_seconds))
        # sd_notify is the supervisor's: a worker must not speak to systemd for it.
        for name in notify.VARIABLES:
            environment.pop(name, None)
        module = ["-m", MODULES[kind]]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *(launch.command(MODULES[kind]) if launch else module)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started = process_started(self.pid)

    @property
    def launched(self) -> bool:
        """Whether the process is a launcher of several."""
        return self._launch is not None

    @property
    def orphaned(self) -> bool:
        """Whether a launcher is gone and processes that it started are not."""
        return self._orphaned

    def assign(self, run_dir: Path) -> None:
        """
        Tell the worker its next run folder. One that is gone already shows that in poll().
        """
        if self._process.stdin is None or self._launch is not None:
            return
        try:
            self._process.stdin.write(os.fsencode(run_dir) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def poll(self) -> int | None:
        """
        Return the exit status, minus the signal number if a signal killed it, or None.

        A launcher's own end is not enough: as long as one of its processes lives,
        the run folder has an author. They are told by the end of their input.
        """
        status = self._process.poll()
        if status is None or self._launch is None:
            return status
        self._orphaned = bool(processes_of(self._launch.run_dir))
        if self._orphaned:
            self.close()
            return None
        return status

    def stop(self) -> None:
        """
        Ask for a graceful stop.
        """
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """
        End the whole process group at once, and every process that a launcher started.
        """
        self._signal(signal.SIGKILL)
        if self._launch is not None:
            kill_all(processes_of(self._launch.run_dir))

    def dismiss(self) -> None:
        """
        End a worker that waits for a run, and see it gone.

        Killed and not asked: it holds nothing that matters, and in the middle of its
        imports it would hear a request only seconds later.
        """
        self.close()
        self.kill()
        try:
            self._process.wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # hangs in a driver: it holds no lock and no run, and nothing waits for it

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


def processes_of(run_dir: Path) -> list[psutil.Process]:
    """
    Return the live training processes whose command line names *run_dir*.

    Ranks are found by name and not by descent, since whoever outlives its launcher
    has no known parent. A worker that was told by its pipe is not found.
    """
    found = []
    wanted = {MODULES["training"], str(run_dir)}
    for process in psutil.process_iter():
        try:
            if wanted <= set(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue  # gone between two looks
    return found


def kill_all(processes: list[psutil.Process]) -> None:
    """
    End *processes* at once; psutil makes sure that none of their pids was given away.
    """
    for process in processes:
        try:
            process.kill()
        except psutil.Error:
            continue


def end_orphan(run_dir: Path, pid: int | None, started: float | None, *, patience: float) -> bool:
    """
    See to it that the worker of an earlier supervisor is gone.

    It has noticed the end of its pipe and is checkpointing, or was waiting for
    work and has left; it gets *patience* seconds, then it is killed. Only a process
    with the recorded pid and start time, or a rank of this very run, is signalled.

    Returns:
        Whether something had to be killed.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (
            not is_locked(run_dir / LOCK)
            and not _same_process(pid, started)
            and not processes_of(run_dir)
        ):
            return False
        time.sleep(0.05)
    killed = False
    if pid is not None and _same_process(pid, started):
        try:
            os.killpg(pid, signal.SIGKILL)
            killed = True
        except ProcessLookupError:
            pass
        while _same_process(pid, started):
            time.sleep(0.02)
    ranks = processes_of(run_dir)
    kill_all(ranks)
    psutil.wait_procs(ranks, timeout=GONE_SECONDS)
    return killed or bool(ranks)


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
