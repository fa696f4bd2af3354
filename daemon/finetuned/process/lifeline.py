"""
The supervisor's pipe to a worker, as the worker sees it.

Standard input is a pipe whose other end only the supervisor holds. Each line is
a run folder; the end of the input means that the supervisor is gone, which the
kernel reports even after SIGKILL. SIGTERM or the end of the input asks the
worker to stop at the next step, write a checkpoint and leave. Does not know jobs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from finetuned.errors import EXIT_TEMPFAIL

SUPERVISED = "FINETUNED_SUPERVISED"
"""
Environment variable that marks a worker whose standard input is its supervisor's pipe.
The input of a worker that a person starts by hand may be closed from the beginning,
and its end must not stop the run.
"""

SUPERVISOR_GONE = "supervisor_gone"
"""The cause of a stop at the end of standard input."""


class Lifeline:
    """
    Tells a worker whether to go on, and which run folder comes next.
    """

    def __init__(self, *, grace_seconds: float | None = None) -> None:
        """
        Args:
            grace_seconds: How long the work may take to return after a stop was asked
                for; then the process is ended with status 75. None waits for ever, for
                work that must write a checkpoint first.
        """
        self._grace_seconds = grace_seconds
        self._stop = threading.Event()
        # A signal handler puts into it too: this queue, unlike Queue, may be entered again.
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self.cause = ""
        """Why a stop was asked for: a signal's name or SUPERVISOR_GONE; empty before."""

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for; it is never taken back."""
        return self._stop.is_set()

    def stop(self, cause: str) -> None:
        """
        Ask for a graceful stop; a worker that waits for a run stops waiting.
        """
        if not self.stopping and self._grace_seconds is not None:
            watchdog = threading.Timer(self._grace_seconds, self._end_process)
            watchdog.daemon = True
            watchdog.start()
        self.cause = self.cause or cause
        self._stop.set()
        self._lines.put(None)

    def _end_process(self) -> None:
        """End the process: work that does not return, such as a template that loops, obeys none."""
        message = f"stop asked for ({self.cause}), but the work did not return: process ended\n"
        os.write(2, message.encode())
        os._exit(EXIT_TEMPFAIL)

    def install(self) -> None:
        """
        Handle SIGTERM as a request to stop and ignore SIGINT; call from the main thread.

        A second SIGTERM ends the process at once; the last checkpoint is safe.
        """

        def on_signal(number: int, _: FrameType | None) -> None:
            if self.stopping and number == signal.SIGTERM and self.cause != SUPERVISOR_GONE:
                os._exit(128 + number)
            self.stop(signal.Signals(number).name)

        signal.signal(signal.SIGTERM, on_signal)
        # Ctrl-C reaches the whole terminal group; the supervisor decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch_stdin(self) -> None:
        """
        Read run folders from standard input in a thread, and stop when it ends.

        Reads the descriptor itself, so that no line is held back in a buffer between
        two runs. Only for workers whose input is the supervisor's pipe.
        """

        def read_to_the_end() -> None:
            rest = b""
            try:
                while data := os.read(sys.stdin.fileno(), 1 << 16):
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self._lines.put(line)
            finally:
                self.stop(SUPERVISOR_GONE)

        threading.Thread(target=read_to_the_end, name="lifeline", daemon=True).start()

    def next_run(self) -> Path | None:
        """
        Wait for the next run folder.

        Returns:
            None if there will be none: a stop was asked for, or the supervisor is gone.
        """
        line = self._lines.get()
        return None if line is None else Path(os.fsdecode(line))
