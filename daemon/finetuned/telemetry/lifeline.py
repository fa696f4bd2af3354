"""
The thread between a worker and its supervisor, and a worker's life along it.

SIGTERM or the end of standard input means: stop at the next step, checkpoint,
leave. Standard input is a pipe whose other end only the supervisor holds, so
its end is the kernel's word that the supervisor is gone. Does not know jobs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from finetuned.errors import EXIT_OK, EXIT_SOFTWARE, EXIT_TEMPFAIL, FinetunedError, Unavailable
from finetuned.files.lock import FileLock
from finetuned.files.refusal import refusal_reason
from finetuned.files.run import LOCK, read_spec, redirect_output, write_error

Work = Callable[[Path, dict[str, Any], "Lifeline"], None]
"""What one worker does with its run folder and its spec."""


class Lifeline:
    """
    Says whether this worker should go on.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.cause = ""

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for; true for good once it is."""
        return self._stop.is_set()

    def stop(self, cause: str) -> None:
        """
        Ask for a graceful stop.
        """
        self.cause = self.cause or cause
        self._stop.set()

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
        Stop when standard input ends. Only for workers whose input is the supervisor's pipe.
        """

        def read_to_the_end() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            self.stop("supervisor_gone")

        threading.Thread(target=read_to_the_end, name="lifeline", daemon=True).start()


def run_folder_from(argv: list[str], lifeline: Lifeline) -> Path | None:
    """
    Return the run folder of a worker: its argument, or the first line of standard input.

    Told by standard input, a worker can be started before there is work for it;
    from then on the end of that input ends the worker.

    Returns:
        None when standard input ended without naming one: the work was called off.
    """
    if argv:
        return Path(argv[0])
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return None
        line += byte
    lifeline.watch_stdin()
    return Path(os.fsdecode(line[:-1]))


def run_worker(argv: list[str] | None, *, warm_up: Callable[[], object], work: Work) -> int:
    """
    Live one worker's life: imports, run folder, lock, work, exit status.

    Args:
        argv: The run folder, or nothing to be told by standard input.
        warm_up: Does the imports, before the run is known: what an early start saves.
        work: Does the run.

    Returns:
        0 done, 70 a bug, 75 stopped or refused by the file system, else what the
        error that ended it says. The error is in the run folder.
    """
    lifeline = Lifeline()
    lifeline.install()
    warm_up()
    run_dir = run_folder_from(sys.argv[1:] if argv is None else argv, lifeline)
    if run_dir is None:
        return EXIT_OK
    try:
        redirect_output(run_dir)
        with FileLock(run_dir / LOCK):
            work(run_dir, read_spec(run_dir), lifeline)
    except OSError as error:
        write_error(run_dir, Unavailable(refusal_reason(error), str(error)))
        return EXIT_TEMPFAIL
    except FinetunedError as error:
        write_error(run_dir, error)
        return error.exit_status
    except Exception as error:  # the run's record must say what happened
        write_error(run_dir, error)
        return EXIT_SOFTWARE
    return EXIT_OK
