"""
A worker process as the supervisor holds it: started, told its runs, stopped, killed, reaped.

Each worker leads its own process group. Does not know what a worker does.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

from finetuned.core.run import RunKind
from finetuned.process.environment import child_environment
from finetuned.process.launch import Launch, worker_arguments
from finetuned.process.lifeline import SUPERVISED
from finetuned.process.orphans import GONE_SECONDS, kill_all, process_started, processes_of


class WorkerProcess:
    """
    One worker: it starts without a run and is told its run folders by one line each.

    With a Launch it is a launcher that gets its one run folder as an argument; it
    counts as gone when the processes that it started are gone as well.
    """

    def __init__(
        self, kind: RunKind, *, cwd: Path, log: Path, launch: Launch | None = None
    ) -> None:
        """
        Start the process; it does its imports and waits for a run folder.

        Args:
            kind: Of the runs that it can do.
            cwd: Its working directory.
            log: The file that its standard output and error are appended to.
            launch: How to start it on several devices, and for which run.

        Raises:
            OSError: The process could not be started.
        """
        self.kind = kind
        self._launch = launch
        self._orphaned = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *worker_arguments(kind, launch)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=_environment(launch),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started = process_started(self.pid)

    @property
    def launched(self) -> bool:
        """Whether the process is a launcher of several processes."""
        return self._launch is not None

    @property
    def orphaned(self) -> bool:
        """Whether a launcher is gone while processes that it started still run."""
        return self._orphaned

    def assign(self, run_dir: Path) -> None:
        """
        Tell the worker its next run folder.

        A worker that is gone already is not an error here; poll() shows it.
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

        None means that it lives. A launcher lives as long as one of the processes
        that it started: until then the run folder has a writer. If the launcher
        itself has ended, its pipe is closed, which asks those processes to stop.
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
        Kill the process group, and every process that a launcher started.
        """
        self._signal(signal.SIGKILL)
        if self._launch is not None:
            kill_all(processes_of(self._launch.run_dir))

    def dismiss(self) -> None:
        """
        Kill a worker that waits for a run, and wait until it is gone.

        It is killed and not asked: it holds no work, and while it does its imports
        it would notice a request only seconds later.
        """
        self.close()
        self.kill()
        try:
            self._process.wait(GONE_SECONDS)
        except subprocess.TimeoutExpired:
            pass  # it hangs in a driver; it holds no lock and no run, so nothing waits for it

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


def _environment(launch: Launch | None) -> dict[str, str]:
    """Return the environment of a worker."""
    extra = {
        # No worker uses the network; a missing base model is an error at once.
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that wait for each other spin for some microseconds and then sleep. Spinning
        # for long, the default, makes training several times slower once another process
        # wants a core; never spinning makes it 40% slower always.
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
        SUPERVISED: "1",
    }
    if launch is not None:
        extra["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(math.ceil(launch.grace_seconds))
    return child_environment(**extra)
