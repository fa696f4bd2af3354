"""
Write on one thread while another trains.

At most one thing is in flight: a disk that cannot keep up makes checkpoints
rarer and never piles copies of the model up in memory. Knows neither tensors
nor checkpoints; that a snapshot shares no memory with what is being trained is
the caller's part, and so is that the writer asks nothing of the trainer's GPU.

    saver = BackgroundSaver()
    saver.submit(snapshot_state(...), lambda s: write_checkpoint(folder, s))
    ...                                 # train; the writer hashes, syncs, renames
    for path in saver.poll(): ...       # after each step: finished, or raises what it met
    saver.wait()                        # before leaving
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Snapshot = TypeVar("Snapshot")
Result = TypeVar("Result")


class BackgroundSaver(Generic[Snapshot, Result]):
    """
    One writing thread at a time, and what came of it.

    All methods belong to one thread, the one that trains. The writer is a daemon
    thread: a process that leaves without ``wait`` cuts it off, as a crash would.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        # Touched by the writer while it lives, by the trainer only when it is gone.
        self._finished: list[Result] = []
        self._failure: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, snapshot: Snapshot, write: Callable[[Snapshot], Result]) -> bool:
        """
        Begin to write, unless something is being written.

        Ask ``busy`` before copying the state: a refused snapshot was made for nothing.

        Args:
            snapshot: What is written; let go of as soon as it is.
            write: Called with it once, on the writing thread.

        Returns:
            False when it was refused, because the writer is busy or its last failure
            has not been fetched by ``poll``; the caller tries again at the next step.
        """
        if self.busy or self._failure is not None:
            return False
        self._thread = Thread(
            target=self._write, args=(snapshot, write), name="checkpoint-writer", daemon=True
        )
        self._thread.start()
        return True

    def _write(self, snapshot: Snapshot, write: Callable[[Snapshot], Result]) -> None:
        try:
            self._finished.append(write(snapshot))
        except BaseException as error:  # raised again by poll, on the thread that can decide
            self._failure = error

    def poll(self) -> list[Result]:
        """
        Return what was finished since the last call, oldest first, without waiting.

        Raises:
            OSError: The writer met it, or ModelError, or a bug. Told once; what finished
                earlier is still returned by the next call, and the saver goes on working.
        """
        if self.busy:
            return []
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # its traceback holds this frame and the snapshot: no cycle
        finished, self._finished = self._finished, []
        return finished

    def wait(self, timeout_seconds: float | None = None) -> list[Result]:
        """
        Wait until nothing is being written, then poll.

        Args:
            timeout_seconds: At most this long, > 0; None waits to the end. A caller
                with a heartbeat waits in pieces while ``busy``.

        Returns:
            As ``poll``; nothing when the time was over first.

        Raises:
            OSError: As ``poll``.
        """
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self.poll()
