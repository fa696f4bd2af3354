"""
Structured logs: one JSON line per event in logs/<name>.log.

Every process has its own file, so that no two processes append to one file.
Knows structlog and files; does not know jobs, nor which events exist (events.py).

A log line must never stop the daemon. When the disk is full the line goes to
stderr (the systemd journal keeps it) and the next line tries the file again.
No fsync: a power cut may take the last few lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from finetuned.core.text import printable
from finetuned.telemetry.log_file import LogFile
from finetuned.telemetry.plain import plain

_MULTILINE_KEYS = frozenset({"exception", "stack"})


def _clean(_logger: object, _method: str, event: EventDict) -> EventDict:
    cleaned: EventDict = {}
    for key, value in event.items():
        if key in _MULTILINE_KEYS and isinstance(value, str):
            lines = value.split("\n")
            cleaned[key] = "\n".join(printable(line) for line in lines)
        else:
            cleaned[key] = plain(value)
    return cleaned


def _pass_through(_logger: object, _method: str, event: EventDict) -> tuple[Any, Any]:
    # structlog spreads a dict over keyword arguments; the sink wants it whole.
    return ((event,), {})


Readable = Callable[[Mapping[str, Any]], str]
"""Turns an event into one line for a person."""


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
