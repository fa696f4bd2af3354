"""
One append-only file of lines, rotated by size.

A line that cannot be written is reported and never half kept, so that a full disk
does not stop the caller. Knows files; does not know events.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class LogFile:
    """
    One append-only file of lines, rotated by size. Owns a descriptor; thread-safe.

    ``x.log`` is the newest, ``x.log.1`` the one before, and so on. Rotation is
    renames only, oldest first: a crash between two of them leaves a gap in the
    numbers and no line lost.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.backups = backups
        self._fd = -1
        self._mutex = threading.Lock()

    def append(self, line: bytes) -> bool:
        """
        Append *line* (with its newline), after rotating the file if the line would not fit.

        Returns:
            Whether the whole line is in the file. False leaves the file as it was.
        """
        with self._mutex:
            try:
                size = self._open()
                if size > 0 and size + len(line) > self.max_bytes:
                    size = self._rotate(size)
                written = os.write(self._fd, line)
            except OSError:
                return False
            if written == len(line):
                return True
            try:  # full in the middle of a line: take the piece back
                os.ftruncate(self._fd, size)
            except OSError:
                pass  # the next start ends the half line, see _open
            return False

    def close(self) -> None:
        """
        Close the descriptor; a later append opens the file again.
        """
        with self._mutex:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        """
        Make sure the descriptor is the file at the path, and return its size in bytes.
        """
        if self._fd >= 0:
            found = os.fstat(self._fd)
            if found.st_nlink > 0:
                return found.st_size
            self._close()  # the file was deleted: lines written to it would be lost
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(self.path, flags, 0o644)
        size = os.fstat(self._fd).st_size
        if size and os.pread(self._fd, 1, size - 1) != b"\n":
            # A power cut or a full disk left half a line: end it, so that only it is broken.
            size += os.write(self._fd, b"\n")
        return size

    def _rotate(self, size: int) -> int:
        """
        Rename the file and open a new one; if that fails, keep the old one.
        """
        try:
            for n in range(self.backups - 1, 0, -1):
                older, newer = self._numbered(n + 1), self._numbered(n)
                if newer.exists():
                    os.replace(newer, older)
            os.replace(self.path, self._numbered(1))
        except OSError:
            return size  # a file that is too long is better than a lost line
        self._close()
        return self._open()

    def _numbered(self, n: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{n}")
