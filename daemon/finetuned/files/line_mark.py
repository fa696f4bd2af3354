"""
lines.mark in an ingestion's run folder: which lines of which file the worker is reading now.

Code in C (a tokenizer, a filter of a template) can run for ever without letting Python say
anything. So the lines are written down before they are read, and whoever kills the worker
can name them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

LINE_MARK = "lines.mark"

_BYTES = 256
"""Length of the file: it is written over, in one piece, for every row."""


@dataclass(frozen=True, slots=True)
class LineRange:
    """
    Lines of one file that follow each other.
    """

    first: int
    """Number of the first, from 1."""
    last: int
    """Number of the last, >= first."""

    def __contains__(self, line: int) -> bool:
        return self.first <= line <= self.last

    def __str__(self) -> str:
        if self.first == self.last:
            return f"line {self.first}"
        return f"lines {self.first} to {self.last}"


class LineMark:
    """
    The writer of one run's mark.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            OSError: The file cannot be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(folder / LINE_MARK, flags, 0o644)

    def set(self, key: str, first: int, last: int) -> None:
        """
        Say which lines are read from now on; costs a microsecond.

        It outlives the process, not a power cut. A full disk is no reason to stop working:
        such a mark is dropped.

        Args:
            key: Of the claimed file, at most 201 characters.
            first: Number of the first line, from 1; 0 if it is no line that is worked on.
            last: Number of the last line.
        """
        try:
            os.pwrite(self._fd, f"{key} {first} {last}\n".encode().ljust(_BYTES), 0)
        except OSError:
            pass

    def __enter__(self) -> LineMark:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def read_line_mark(folder: Path, key: str) -> LineRange | None:
    """
    Return the lines that the worker of a run was reading, None if it was reading none.

    Args:
        folder: Of the run.
        key: Of the claimed file; a mark of another file counts as none.
    """
    try:
        words = (folder / LINE_MARK).read_bytes()[:_BYTES].decode().split()
        found, first, last = words[0], int(words[1]), int(words[2])
    except (OSError, ValueError, IndexError):
        return None
    return LineRange(first, last) if found == key and 1 <= first <= last else None
