"""
The thread between a worker and its supervisor, and a worker's life along it.

SIGTERM or the end of standard input means: stop at the next step, checkpoint,
leave. Standard input is a pipe whose other end only the supervisor holds, so
its end is the kernel's word that the supervisor is gone. The same pipe tells
a worker its run folders, one line each. Does not know jobs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import psutil

from finetuned.core.run_end import outgrown
from finetuned.errors import EXIT_OK, EXIT_SOFTWARE, EXIT_TEMPFAIL, FinetunedError, Unavailable
from finetuned.files.lock import FileLock
from finetuned.files.rank import rank
from finetuned.files.refusal import refusal_reason
from finetuned.files.run import LOCK, read_spec, redirect_output, write_error, write_exit

Work = Callable[[Path, dict[str, Any], "Lifeline"], None]
"""What one worker does with its run folder and its spec."""

SUPERVISED = "FINETUNED_SUPERVISED"
"""
Environment variable of a worker whose standard input is its supervisor's pipe.
A worker that a person starts by hand, here or on another machine, may have its
input closed, and that says nothing.
"""

WORKER_GROWTH = "worker_growth"
"""
Key of a spec: the worker stays for the next run unless it holds more than so many
times the memory of its first one. Without it the worker leaves after the run.
"""


class Lifeline:
    """
    Says whether this worker should go on, and with what.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        # A signal handler puts into it too: this queue, unlike Queue, may be entered again.
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self.cause = ""

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for; true for good once it is."""
        return self._stop.is_set()

    def stop(self, cause: str) -> None:
        """
        Ask for a graceful stop; a worker that waits for a run stops waiting.
        """
        self.cause = self.cause or cause
        self._stop.set()
        self._lines.put(None)

    def install(self) -> None:
        """
        Listen to SIGTERM and SIGINT; call from the main thread.

        The second SIGTERM leaves at once: what is in the last checkpoint is safe.
        """

        def on_signal(number: int, _: FrameType | None) -> None:
            if self.stopping and number == signal.SIGTERM and self.cause != "supervisor_gone":
                os._exit(128 + number)
            self.stop(signal.Signals(number).name)

        signal.signal(signal.SIGTERM, on_signal)
        # Ctrl-C reaches the whole terminal group; the supervisor decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_stdin(self) -> None:
        """
        Read run folders until standard input ends, and stop then.

        The one reader of that input, on its descriptor: nothing is left in a buffer
        between two runs. Only for workers whose input is the supervisor's pipe.
        """

        def read_to_the_end() -> None:
            rest = b""
            try:
                while data := os.read(sys.stdin.fileno(), 1 << 16):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._lines.put(line)
            finally:
                self.stop("supervisor_gone")

        threading.Thread(target=read_to_the_end, name="lifeline", daemon=True).start()

    def next_run(self) -> Path | None:
        """
        Wait for the next run folder.

        Returns:
            None when there will be none: a stop was asked for, or the supervisor is gone.
        """
        line = self._lines.get()
        return None if line is None else Path(os.fsdecode(line))


def run_worker(
    argv: list[str] | None,
    *,
    warm_up: Callable[[], object],
    work: Work,
    idle: Callable[[], bool | None] | None = None,
) -> int:
    """
    Live one worker's life: imports, run folder, lock, work, and so on with the next run.

    Told by standard input, a worker can be started before there is work for it,
    and stays after a run that ended well where its spec allows that: what *work*
    keeps (a model, an optimizer) is there for the next run. After any other end
    it leaves.

    Args:
        argv: The run folder, or nothing to be told by standard input.
        warm_up: Does the imports, before the run is known: what an early start saves.
        work: Does one run.
        idle: Called before waiting for another run: gives back the memory of the
            device, which the other kind of worker needs now. Returning False it says
            that only the end of the process does that.

    Returns:
        0 done, 70 a bug, 75 stopped or refused by the file system, else what the
        error that ended the last run says. The error is in the run folder.
    """
    lifeline = Lifeline()
    lifeline.install()
    given = sys.argv[1:] if argv is None else argv
    if not given or SUPERVISED in os.environ:
        lifeline.watch_stdin()
    warm_up()
    memory = _Memory(idle)
    if given:
        return _run_once(Path(given[0]), work, lifeline, memory)[0]
    status, stays = EXIT_OK, True
    while stays and (run_dir := lifeline.next_run()) is not None:
        status, stays = _run_once(run_dir, work, lifeline, memory)
    if status == EXIT_OK:
        _leave_at_once()
    return status


def _leave_at_once() -> None:
    """End a process that has nothing to lose: taking torch apart first holds memory for seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_OK)


class _Memory:
    """
    What a live worker holds between two runs, against what it held after the first.
    """

    def __init__(self, idle: Callable[[], bool | None] | None) -> None:
        self._idle = idle
        self._first_rss_bytes: int | None = None

    def permits(self, growth: float) -> bool:
        """Become idle and return whether this process may take another run."""
        try:
            if self._idle is not None and self._idle() is False:
                return False
        except Exception:
            traceback.print_exc()  # the run is good; this process is not
            return False
        held = _rss_bytes()
        if self._first_rss_bytes is None:
            self._first_rss_bytes = held
        if not outgrown(held, self._first_rss_bytes, growth):
            return True
        gc.collect()  # costs 100 ms, so only where it may save a start
        return not outgrown(_rss_bytes(), self._first_rss_bytes, growth)


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _run_once(run_dir: Path, work: Work, lifeline: Lifeline, memory: _Memory) -> tuple[int, bool]:
    """Do one run and return its status and whether this process takes another."""
    if rank() != 0:  # folder, lock and last word are rank 0's
        return _do(run_dir, work, lifeline)[0], False
    try:
        redirect_output(run_dir)
        with FileLock(run_dir / LOCK):
            status, spec = _do(run_dir, work, lifeline)
            growth = spec.get(WORKER_GROWTH)
            stays = (
                status == EXIT_OK
                and growth is not None
                and not lifeline.stopping
                and memory.permits(growth)
            )
            try:
                write_exit(run_dir, status, stays=stays)
            except OSError:
                stays = False  # then the end of the process is the word
            return status, stays
    except (OSError, FinetunedError) as error:
        return _status_of(run_dir, error), False


def _do(run_dir: Path, work: Work, lifeline: Lifeline) -> tuple[int, dict[str, Any]]:
    """Do the work of one run; return its status and its spec. What went wrong is written down."""
    spec: dict[str, Any] = {}
    try:
        spec = read_spec(run_dir)
        work(run_dir, spec, lifeline)
    except Exception as error:  # the run's record must say what happened
        return _status_of(run_dir, error), spec
    return EXIT_OK, spec


def _status_of(run_dir: Path, error: Exception) -> int:
    """Write *error* into the run folder and return the status that it stands for."""
    if isinstance(error, OSError):
        write_error(run_dir, Unavailable(refusal_reason(error), str(error)))
        return EXIT_TEMPFAIL
    write_error(run_dir, error)
    return error.exit_status if isinstance(error, FinetunedError) else EXIT_SOFTWARE
