"""
File locks between processes, held by the kernel (flock).

Unlike a pid file, the lock ends with its process however that ends, and a
recycled pid cannot be mistaken for the owner. The pid in the file is only for
the message of a process that does not get the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from finetuned.errors import LockHeld


class FileLock:
    """
    An exclusive lock on *path* for as long as the object is entered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """
        Take the lock, without waiting.

        Raises:
            LockHeld: Another process has it; the message names that process.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(fd, 200).decode("utf-8", "replace").strip() or "another process"
            os.close(fd)
            raise LockHeld(self.path, owner) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """
        Release the lock; harmless if it is not held.
        """
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def held(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """
    Hold the lock on *path* inside a ``with`` block.

    Raises:
        LockHeld: Another process still held it after *wait_seconds*.
    """
    lock = FileLock(path)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            lock.acquire()
            break
        except LockHeld:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """
    Return whether some process holds the lock on *path* right now.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
