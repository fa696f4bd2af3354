"""
Structured logs: one JSON line per event in logs/<name>.log.

Every process has its own file, so that no two processes append to one file.
Knows structlog and files; does not know jobs, nor which events exist (events.py).

A log line must never stop the daemon. When the disk is full the line goes to
stderr (the systemd journal keeps it) and the next line tries the file again.
No fsync: a power cut may take the last few lines.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from finetuned.core.text import printable

MAX_DEPTH = 8
"""Deepest nesting that is logged as structure; deeper values are logged as text."""

_MULTILINE_KEYS = frozenset({"exception", "stack"})


def _plain(value: object, depth: int = 0) -> Any:
    """
    Return *value* as a value that orjson can write and that holds no control characters.
    """
    if isinstance(value, Enum):
        value = value.value
    match value:
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            # orjson would write null, and a NaN loss must be visible.
            return value if math.isfinite(value) else str(value)
        case str():
            return printable(value)
        case bytes() | os.PathLike():
            return printable(os.fsdecode(value))
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {printable(str(k)): _plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, Sequence | set | frozenset):
            return [_plain(v, depth + 1) for v in value]
    try:
        return printable(repr(value))
    except Exception:  # its repr is broken or too deep; its class is still a clue
        return f"<{type(value).__name__}>"


def _clean(_logger: object, _method: str, event: EventDict) -> EventDict:
    cleaned: EventDict = {}
    for key, value in event.items():
        if key in _MULTILINE_KEYS and isinstance(value, str):
            lines = value.split("\n")
            cleaned[key] = "\n".join(printable(line) for line in lines)
        else:
            cleaned[key] = _plain(value)
    return cleaned


def _pass_through(_logger: object, _method: str, event: EventDict) -> tuple[Any, Any]:
    # structlog spreads a dict over keyword arguments; the sink wants it whole.
    return ((event,), {})


Readable = Callable[[Mapping[str, Any]], str]
"""Turns an event into one line for a person."""


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


class _Sink:
    """
    Writes structlog's finished events to the file and the console, or to stderr if the file fails.
    """

    def __init__(self, file: LogFile | None, *, console: bool, readable: Readable | None) -> None:
        self._file = file
        self._console = console
        self._readable = readable

    def msg(self, event: EventDict) -> None:
        line = orjson.dumps(event) + b"\n"
        if self._file is not None and not self._file.append(line):
            _write(sys.stderr, line.decode())
        if self._console:
            text = line.decode() if self._readable is None else self._readable(event) + "\n"
            _write(sys.stdout, text)

    debug = info = warning = error = critical = msg


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        pass  # the reader of the pipe is gone, or the stream is closed


def configure(
    path: Path | None,
    *,
    console: bool,
    max_bytes: int = 20 * 2**20,
    backups: int = 5,
    readable: Readable | None = None,
) -> None:
    """
    Set up structlog for this process; a second call replaces the first.

    Bind what many lines share once: ``structlog.contextvars.bind_contextvars(run_id=...)``.

    Args:
        path: The process's own file under logs/, or None for no file. It need
            not be writable yet.
        console: Whether to print too, to stdout.
        max_bytes: Size at which the file is rotated, in bytes.
        backups: Rotated files kept, >= 1.
        readable: How an event is printed; None prints the JSON line of the file, for
            systemd's journal or a pipe.
    """
    file = None if path is None else LogFile(path, max_bytes=max_bytes, backups=backups)
    sink = _Sink(file, console=console, readable=readable)
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.processors.format_exc_info,
        _clean,
        _pass_through,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=lambda *_: sink,
        # Modules take their logger at import; their later events must use this configuration.
        cache_logger_on_first_use=False,
    )
