"""
Reading one root for the live page.

Pure reading: the status file, the journal read-only, the metrics of the newest training, the
newest eval report, incidents and the end of the log. Each is read again only if it changed,
so that a look at a root where nothing happens costs a few system calls. Writes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import orjson

from finetuned.errors import FinetunedError
from finetuned.files.feedback import review_counts
from finetuned.files.journal_view import JournalView
from finetuned.files.run import REPORT, read_json
from finetuned.files.status_file import STRANGE, StatusDocument, presence, read_status
from finetuned.layout import Layout
from finetuned.registry.status_now import with_links
from finetuned.serving.gateway import doing, dropped, records
from finetuned.serving.gateway.curves import RunCurves
from finetuned.serving.gateway.snapshot import (
    Curve,
    Forgetting,
    IncidentLine,
    LogLine,
    Queue,
    Snapshot,
    VersionLine,
)

LOG_BYTES = 24_000
LOG_LINES = 60
MAX_LOG_CHARS = 400
MAX_INCIDENTS = 10

_FAILS = (OSError, FinetunedError, sqlite3.Error, *STRANGE)
"""What reading a file of somebody else may end with."""

T = TypeVar("T")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what differs once a file was replaced or written; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class LiveReader:
    """
    Reads one root again and again. Owns a connection to its journal; one thread at a time.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen: dict[str, object] = {}
        self._journal: JournalView | None = None
        self._status: StatusDocument | None = None
        self._curves = RunCurves()
        self._since: str | None = None
        self._last = Snapshot()
        self._problems: dict[str, str] = {}

    def close(self) -> None:
        """
        Close the journal.
        """
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def look(self, now: datetime | None = None) -> Snapshot:
        """
        Return the root as it is now. A part that cannot be read is as it was, and is named.
        """
        last = self._last
        self._try("status", self._read_status, None)
        journal = self._try("journal", self._read_journal, (last.queue, last.versions))
        status, seen = self._status, presence(self._status, now or datetime.now(UTC))
        if status is not None and not seen.state.alive:
            status = with_links(self._layout, status)
        shown = self._try("now", lambda: doing.doing(status, seen, self._since), last.now)
        curves = self._try("curves", self._read_curves, last.curves)
        self._last = Snapshot(
            now=shown,
            curves=curves,
            examples=self._try("examples", lambda: doing.examples(status), last.examples),
            queue=replace(
                self._try("queue", lambda: dropped.with_inbox(journal[0], status), journal[0]),
                reviews=self._try("reviews", self._read_reviews, last.queue.reviews),
            ),
            versions=journal[1],
            forgetting=self._try(
                "forgetting", lambda: self._read_forgetting(journal[1]), last.forgetting
            ),
            host=self._try("host", lambda: doing.host(status), last.host),
            log=self._try("log", self._read_log, last.log),
            incidents=self._try("incidents", self._read_incidents, last.incidents),
        )
        unreadable = tuple(f"{part}: {why}" for part, why in sorted(self._problems.items()))
        self._last = replace(self._last, unreadable=unreadable)
        return self._last

    def _try(self, part: str, read: Callable[[], T], otherwise: T) -> T:
        """Return what *read* gives; what was there before if it fails, which is noted."""
        try:
            found = read()
        except FileNotFoundError:  # not there yet, or a moment ago
            self._problems.pop(part, None)
            return otherwise
        except _FAILS as error:
            self._problems[part] = f"{type(error).__name__}: {error}"
            self._seen.pop(part, None)
            return otherwise
        self._problems.pop(part, None)
        return found

    def _news(self, part: str, stamp: object) -> bool:
        """Return whether *stamp* differs from the last one of *part*."""
        if part in self._seen and self._seen[part] == stamp:
            return False
        self._seen[part] = stamp
        return True

    def _read_status(self) -> None:
        if self._news("status", _stamp(self._layout.status_file)):
            self._status = read_status(self._layout)

    def _read_journal(self) -> tuple[Queue, tuple[VersionLine, ...]]:
        path = self._layout.journal
        stamp = _stamp(path)
        if self._news("journal file", stamp and stamp[0]):
            self.close()
        if self._journal is None:
            self._journal = JournalView(path)
        if not self._news("journal", (stamp and stamp[0], self._journal.change_number())):
            return self._last.queue, self._last.versions
        running = self._journal.runs.unfinished()
        self._since = running[-1].started_at if running else None
        training = self._journal.last_training()
        self._curves.follow(self._layout.runs / training.id if training else None)
        return dropped.queue(self._layout, self._journal), records.versions(self._journal)

    def _read_curves(self) -> tuple[Curve, ...]:
        accuracy = doing.accuracy_curve(self._status)
        return (*self._curves.read(), accuracy) if accuracy.x else self._curves.read()

    def _read_forgetting(self, versions: tuple[VersionLine, ...]) -> Forgetting:
        """Return the matrix of the newest version that has a report."""
        for version in versions[:3]:
            path = self._layout.versions / version.name / REPORT
            if (stamp := _stamp(path)) is None:
                continue
            if not self._news("forgetting", (version.name, stamp)):
                return self._last.forgetting
            if (report := read_json(path)) is not None:
                return records.forgetting(report)
        return self._last.forgetting

    def _read_log(self) -> tuple[LogLine, ...]:
        path = self._layout.logs / "supervisor.log"
        if not self._news("log", _stamp(path)):
            return self._last.log
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            lines = file.read(LOG_BYTES).split(b"\n")
        whole = lines[1:] if size > LOG_BYTES else lines
        return tuple(_log_line(line) for line in whole if line.strip())[-LOG_LINES:]

    def _read_reviews(self) -> int:
        path = self._layout.feedback
        stamps = tuple(map(_stamp, (path, path.with_name(f"{path.name}-wal"))))
        if not self._news("reviews", stamps):
            return self._last.queue.reviews
        found = review_counts(path)
        if found is None:
            raise OSError(f"{path.name} cannot be read now")
        return found.waiting

    def _read_incidents(self) -> tuple[IncidentLine, ...]:
        if not self._news("incidents", _stamp(self._layout.incidents)):
            return self._last.incidents
        names = sorted(os.listdir(self._layout.incidents), reverse=True)
        paths = [self._layout.incidents / n for n in names if n.endswith(".json")]
        return tuple(
            records.incident(path.name, found)
            for path in paths[:MAX_INCIDENTS]
            if (found := read_json(path)) is not None
        )


def _log_line(line: bytes) -> LogLine:
    """Return one line of the log; one that is no event is shown as it is."""
    try:
        event = dict(orjson.loads(line))
    except (ValueError, TypeError):
        return LogLine("", "error", line.decode(errors="replace")[:MAX_LOG_CHARS])
    at, level = str(event.pop("timestamp", "")), str(event.pop("level", "info"))
    name = str(event.pop("event", "")).replace("_", " ")
    rest = ", ".join(f"{key} {value}" for key, value in event.items() if value is not None)
    text = f"{name}: {rest}" if rest else name
    cut = text if len(text) <= MAX_LOG_CHARS else f"{text[:MAX_LOG_CHARS]} ..."
    return LogLine(at, level, cut)
