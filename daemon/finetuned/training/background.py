"""
Writing on one thread while another one trains.

At most one write is under way: a slow disk makes checkpoints rarer, but copies of the
model never pile up in memory. Does not know tensors or checkpoints. The caller must
submit copies that share no memory with the model in training, and a writer that does
not use the GPU.

    saver = BackgroundSaver()
    saver.submit(snapshot_state(...), lambda s: write_checkpoint(folder, s))
    ...                                 # train; the writer hashes, syncs, renames
    for path in saver.poll(): ...       # after each step: results, or the writer's error
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
    One writing thread at a time, and its results.

    All methods are called on the thread that trains. The writer is a daemon thread: a
    process that ends without ``wait`` ends it in the middle of its work, as a crash would.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        # Used by the writing thread while it runs, and by the trainer only after it ended.
        self._finished: list[Result] = []
        self._failure: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, snapshot: Snapshot, write: Callable[[Snapshot], Result]) -> bool:
        """
        Begin to write, unless a write is under way.

        Read ``busy`` before copying the state, so that no copy is made only to be refused.

        Args:
            snapshot: The copy to write; released as soon as it is written.
            write: Called with it once, on the writing thread.

        Returns:
            False if it was refused, because the writer is busy or ``poll`` has not yet
            raised its last error; the caller tries again after the next step.
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
        except BaseException as error:  # poll raises it on the thread that trains
            self._failure = error

    def poll(self) -> list[Result]:
        """
        Return the results since the last call, oldest first, without waiting.

        Raises:
            OSError, ModelError: Whatever error ended the last write, once. Earlier results
                are returned by the next call, and the saver can be used further.
        """
        if self.busy:
            return []
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # its traceback refers to this frame: without this, a cycle
        finished, self._finished = self._finished, []
        return finished

    def wait(self, timeout_seconds: float | None = None) -> list[Result]:
        """
        Wait until no write is under way, then poll.

        Args:
            timeout_seconds: Longest wait, > 0; None waits to the end. A caller that has a
                heartbeat to write waits in pieces while ``busy``.

        Returns:
            As ``poll``; [] if the time was over first.

        Raises:
            OSError: As ``poll``.
        """
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self.poll()
