"""
The thread that writes models/serving/feedback.sqlite3 for the gateway.

Exchanges are collected for a moment and written in one transaction; what a user says is written
at once and acknowledged afterwards. Killed: the exchanges of the last moment are missing, and
feedback that was acknowledged is there. Disk full, or the file damaged: said in the log, requests
go on. Does not know HTTP.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from finetuned.core.review import Entry, Feedback, RecordedExchange
from finetuned.data.redacted_exchange import cleaned
from finetuned.errors import ConfigError
from finetuned.files.feedback import FeedbackFile

log = structlog.get_logger()

COLLECT_SECONDS = 0.25
"""How long exchanges are collected before they are written together."""
MOST_AT_ONCE = 256
MOST_WAITING_BYTES = 32 << 20
TIDY_SECONDS = 60.0
RETRY_SECONDS = 5.0
"""After the file could not be opened."""
BUSY_SECONDS = 5.0
"""For the transaction of finetuned review."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """
    How much is kept, and what waits for review.
    """

    confidence: float
    """``serving.review_confidence``."""
    days: float
    """``serving.feedback_days``."""
    max_bytes: int
    """``serving.feedback_bytes``."""


@dataclass(frozen=True, slots=True)
class _Said:
    feedback: Feedback
    done: Future[Entry | None]


_Item = RecordedExchange | _Said
_TROUBLE: Final = (sqlite3.Error, OSError, ConfigError)


class _NotYet(OSError):
    """The file failed a moment ago and is not opened again yet."""


class Recorder:
    """
    Owns the file and its thread; the methods may be called from any thread.
    """

    def __init__(self, path: Path, bounds: Bounds, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """
        Args:
            path: ``layout.feedback``, in an existing folder.
            bounds: Of what is kept.
            retry_seconds: From a failure of the file until it is opened again.
        """
        self._retry_seconds = retry_seconds
        self._path = path
        self._bounds = bounds
        self._waiting: deque[_Item] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._urgent = False
        self._closing = False
        self._file: FeedbackFile | None = None
        self._open_after = 0.0
        self._tidy_after = 0.0
        self._problem = ""
        self.left_out = 0
        """Exchanges that were not recorded: too many at once, or the file failed."""
        self._left_out_said = 0
        self._thread = threading.Thread(target=self._run, name="feedback", daemon=True)
        self._thread.start()

    def add(self, exchange: RecordedExchange) -> None:
        """
        Have an exchange recorded soon. Does not block.
        """
        size = exchange.n_bytes
        with self._changed:
            if self._waiting_bytes + size > MOST_WAITING_BYTES or self._closing:
                self.left_out += 1
                return
            self._waiting.append(exchange)
            self._waiting_bytes += size
            self._changed.notify()

    def leave_out(self) -> None:
        """
        Count an exchange that cannot be recorded.
        """
        with self._changed:
            self.left_out += 1

    def say(self, feedback: Feedback) -> Future[Entry | None]:
        """
        Have what a user said written, after every exchange that was added before.

        Returns:
            The entry once it is on disk, or None if there is no such request of this key; an
            OSError if the file cannot be written.
        """
        done: Future[Entry | None] = Future()
        with self._changed:
            if self._closing:
                done.set_exception(OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN)))
                return done
            self._waiting.append(_Said(feedback, done))
            self._urgent = True
            self._changed.notify()
        return done

    def close(self) -> None:
        """
        Write what waits and end the thread; harmless the second time.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    # -- of the thread ----------------------------------------------------------

    def _run(self) -> None:
        while True:
            items = self._next()
            if items is None:
                break
            self._write(items)
            self._tidy()
        if self._file is not None:
            self._file.close()

    def _next(self) -> list[_Item] | None:
        """Wait for something to write; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing, TIDY_SECONDS)
            if self._waiting and not self._urgent:
                self._changed.wait_for(lambda: self._urgent or self._closing, COLLECT_SECONDS)
            if not self._waiting and self._closing:
                return None
            items = [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]
            self._waiting_bytes -= sum(i.n_bytes for i in items if isinstance(i, RecordedExchange))
            self._urgent = any(isinstance(item, _Said) for item in self._waiting)
            return items

    def _write(self, items: list[_Item]) -> None:
        """Write in order: exchanges that follow each other in one transaction."""
        exchanges: list[RecordedExchange] = []
        for item in items:
            if isinstance(item, RecordedExchange):
                exchanges.append(item)
                continue
            self._record(exchanges)
            exchanges = []
            self._say(item)
        self._record(exchanges)

    def _record(self, exchanges: list[RecordedExchange]) -> None:
        if not exchanges:
            return
        try:
            clean = [cleaned(Entry(exchange=exchange)).exchange for exchange in exchanges]
            self._opened().record(clean, threshold=self._bounds.confidence)
            self._problem = ""
        except Exception as error:  # whatever is wrong with a text, it must not end the thread
            with self._changed:
                self.left_out += len(exchanges)
            self._failed(error)

    def _say(self, said: _Said) -> None:
        awaited = said.done.set_running_or_notify_cancel()  # a client may have gone: write it still
        try:
            entry = self._opened().say(
                said.feedback, threshold=self._bounds.confidence, clean=cleaned
            )
            self._problem = ""
        except Exception as error:
            self._failed(error)
            if awaited:
                said.done.set_exception(_as_os_error(error))
            return
        if entry is not None:
            log.info(
                "feedback_received",
                request_id=entry.exchange.id,
                thumbs=said.feedback.thumbs,
                corrected=said.feedback.correction is not None,
                review=entry.review,
            )
        if awaited:
            said.done.set_result(entry)

    def _opened(self) -> FeedbackFile:
        if self._file is None:
            if time.monotonic() < self._open_after:
                raise _NotYet(errno.EIO, self._problem)
            self._file = FeedbackFile(self._path, wait_seconds=BUSY_SECONDS)
        return self._file

    def _failed(self, error: Exception) -> None:
        """Say once why the file fails; open it again later, or put a damaged one aside."""
        if isinstance(error, _NotYet):
            return
        known = f"{type(error).__name__}: {error}" if isinstance(error, _TROUBLE) else "a bug"
        if known != self._problem:
            if isinstance(error, _TROUBLE):
                log.warning("feedback_unavailable", error=known, left_out=self.left_out)
            else:  # without the values, which are what users wrote
                log.error("feedback_not_written", kind=type(error).__name__)
            self._problem = known
        if not isinstance(error, _TROUBLE):
            return
        if self._file is not None:
            self._file.close()
            self._file = None
        self._open_after = time.monotonic() + self._retry_seconds
        if type(error) is sqlite3.DatabaseError:
            self._put_aside()

    def _put_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(time.time())}")
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self._path.with_name(self._path.name + suffix)
                if part.exists():
                    os.rename(part, aside.with_name(aside.name + suffix))
            log.warning("feedback_put_aside", kept_as=aside.name)
            self._open_after = 0.0
        except OSError as problem:
            log.warning("feedback_unavailable", error=str(problem), left_out=self.left_out)

    def _tidy(self) -> None:
        """Remove what is too old or too much, once a minute, and say what was left out."""
        now = time.monotonic()
        if now < self._tidy_after:
            return
        self._tidy_after = now + TIDY_SECONDS
        if self.left_out > self._left_out_said:
            log.warning("exchanges_left_out", count=self.left_out - self._left_out_said)
            self._left_out_said = self.left_out
        if self._file is None:
            return
        before = datetime.now(UTC) - timedelta(days=self._bounds.days)
        text = before.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            gone = self._file.remove_old(before=text, max_bytes=self._bounds.max_bytes)
        except _TROUBLE as error:
            self._failed(error)
            return
        if gone:
            counts = {str(state): n for state, n in gone.items()}
            log.info("exchanges_removed", count=gone.total(), by_review=counts)


def _as_os_error(error: Exception) -> OSError:
    if isinstance(error, OSError):
        return error
    return OSError(errno.EIO, str(error) if isinstance(error, _TROUBLE) else "a bug; see the log")
