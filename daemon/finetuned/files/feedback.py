"""
models/serving/feedback.sqlite3: requests with their answers, and what users said of them.

Two programs write it, each columns of its own. The gateway adds and removes rows and writes
what users say; ``finetuned review`` (files/review.py) writes decisions and batches. Each change
is one short transaction that begins with BEGIN IMMEDIATE: the other program waits for it (WAL,
up to *wait_seconds*), and a decision is made only if its row is still as the reviewer saw it.
synchronous=FULL: what was acknowledged survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from finetuned.core.review import (
    KEPT_UNTIL_DELIVERED,
    Entry,
    Feedback,
    Kept,
    Reason,
    RecordedExchange,
    ReviewCounts,
    ReviewState,
    reasons_for,
    to_remove,
    with_feedback,
)
from finetuned.errors import ConfigError
from finetuned.files.feedback_schema import (
    COLUMNS,
    SINCE,
    TABLES,
    VERSION,
    entry_of,
    fingerprint,
    query_hash,
)
from finetuned.files.transaction import transaction, use_wal

WAIT_SECONDS = 10.0
"""For the other program's transaction."""

_ADDED = (
    "id, timestamp, customer_id, query_hash, confidence, llm_model, llm_tokens_used,"
    " llm_duration_ms, route, messages, plain, tools, answer, tool_calls, reasoning,"
    " finish_reason, review, reasons, fingerprint, bytes, invented, origin"
)


class FeedbackFile:
    """
    The file, opened for writing. Belongs to one thread.
    """

    def __init__(self, path: Path, *, wait_seconds: float = WAIT_SECONDS) -> None:
        """
        Open or create, readable by its owner only.

        Raises:
            ConfigError: A later version of this program wrote it; it is untouched.
            sqlite3.OperationalError: The file system refused.
            sqlite3.DatabaseError: It is no SQLite file, or damaged.
            OSError: It cannot be created.
        """
        self.path = path
        # SQLite gives its -wal and -shm files the mode of the file itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.db = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            use_wal(self.db, wait_seconds=wait_seconds)
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.execute("PRAGMA secure_delete=ON")  # what is removed is overwritten
            self._make()
        except BaseException:
            self.db.close()
            raise

    def _make(self) -> None:
        """Make the tables of a new file, in a transaction: two processes may open it at once."""
        with self.write():
            found = int(self.db.execute("PRAGMA user_version").fetchone()[0])
            if found == 0:
                for statement in filter(str.strip, TABLES.split(";\n")):
                    self.db.execute(statement)
            for version in range(found or VERSION, VERSION):
                self.db.execute(SINCE[version])
            if found < VERSION:
                self.db.execute(f"PRAGMA user_version = {VERSION}")
        if found > VERSION:
            raise ConfigError(
                f"{self.path} was written by a later version of this program (schema {found}, "
                f"known here {VERSION}); update the program, or move the file away"
            )

    def close(self) -> None:
        """
        Close the file; what was committed stays.
        """
        self.db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """
        Open a transaction, commit it at the end of the block, undo it if the block raises.
        """
        with transaction(self.db) as db:
            yield db

    # -- of the gateway ---------------------------------------------------------

    def record(self, exchanges: Sequence[RecordedExchange], *, threshold: float) -> int:
        """
        Add exchanges, passwords already replaced, in one transaction.

        An answer that is in the queue already, or was decided on, word for word is not queued
        again.

        Args:
            exchanges: Those whose ids are there already are left alone.
            threshold: ``serving.review_confidence``.

        Returns:
            How many of them wait for review.
        """
        queued = 0
        with self.write():
            for exchange in exchanges:
                reasons = reasons_for(exchange, threshold=threshold)
                print_ = fingerprint(exchange)
                if reasons and self._is_known(print_):
                    reasons = ()
                queued += self._add(exchange, reasons, print_)
        return queued

    def _is_known(self, print_: str) -> bool:
        found = self.db.execute(
            "SELECT 1 FROM ai_decisions WHERE fingerprint = ? AND review <> 'none'", (print_,)
        )
        return found.fetchone() is not None

    def _add(self, exchange: RecordedExchange, reasons: tuple[Reason, ...], print_: str) -> bool:
        review = ReviewState.WAITING if reasons else ReviewState.NONE
        values = (
            *(exchange.id, exchange.at, exchange.key_id, query_hash(exchange)),
            *(exchange.confidence, exchange.model, exchange.tokens, exchange.duration_ms),
            *(exchange.route, exchange.messages, exchange.plain, exchange.tools),
            *(exchange.answer, exchange.tool_calls, exchange.reasoning, exchange.finish_reason),
            *(str(review), " ".join(reasons), print_, exchange.n_bytes),
            orjson.dumps(exchange.invented).decode() if exchange.invented else None,
            exchange.origin,
        )
        marks = ", ".join("?" * len(values))
        added = self.db.execute(
            f"INSERT OR IGNORE INTO ai_decisions ({_ADDED}) VALUES ({marks})",  # noqa: S608
            values,
        )
        return bool(added.rowcount) and review is ReviewState.WAITING

    def get(self, request_id: str) -> Entry | None:
        """
        Return one entry, or None.
        """
        found = self.entries("WHERE id = ?", request_id)
        return found[0] if found else None

    def entries(self, where: str, *values: object) -> list[Entry]:
        """
        Return the entries that the end of a query selects; for the files of this room only.
        """
        rows = self.db.execute(f"SELECT {COLUMNS} FROM ai_decisions {where}", values)  # noqa: S608
        return [entry_of(row) for row in rows]

    def say(
        self, feedback: Feedback, *, threshold: float, clean: Callable[[Entry], Entry]
    ) -> Entry | None:
        """
        Record what a user said of an answer, in one transaction.

        Args:
            feedback: What was said.
            threshold: ``serving.review_confidence``.
            clean: Returns the entry without passwords; a correction may give one away.

        Returns:
            The entry as it is now; None if there is no such request of this key.
        """
        with self.write():
            entry = self.get(feedback.request_id)
            if entry is None or entry.exchange.key_id != feedback.key_id:
                return None
            now = clean(with_feedback(entry, feedback, threshold=threshold))
            self.db.execute(
                "UPDATE ai_decisions SET user_feedback = ?, correction = ?, user_comment = ?,"
                " review = ?, reasons = ?, revision = ?, messages = ?, answer = ?, reasoning = ?,"
                " bytes = ? WHERE id = ?",
                (
                    *(now.thumbs, now.correction, now.comment, str(now.review)),
                    *(" ".join(now.reasons), now.revision, now.exchange.messages),
                    *(now.exchange.answer, now.exchange.reasoning, _n_bytes(now)),
                    feedback.request_id,
                ),
            )
        if now.exchange != entry.exchange:
            self.forget_old_pages()
        return now

    def forget_old_pages(self) -> None:
        """
        Empty the write-ahead log, in which the text stands that a transaction has replaced.

        While the other program reads it is left; the last one that closes the file removes it.
        """
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def remove_old(self, *, before: str, max_bytes: int) -> Counter[ReviewState]:
        """
        Remove what is older than *before*, and the oldest of what exceeds *max_bytes*; count it.

        What is approved and not delivered stays.

        Returns:
            How many rows of each state were removed now.
        """
        kept = orjson.dumps([str(state) for state in KEPT_UNTIL_DELIVERED]).decode()
        with self.write():
            rows = self.db.execute(
                "SELECT id, review, bytes, timestamp < ? AS old FROM ai_decisions WHERE review"
                " NOT IN (SELECT value FROM json_each(?)) ORDER BY timestamp, id",
                (before, kept),
            ).fetchall()
            found = [(Kept(r["id"], ReviewState(r["review"]), r["bytes"]), r["old"]) for r in rows]
            gone = [row for row, old in found if old]
            gone += to_remove([row for row, old in found if not old], max_bytes=max_bytes)
            self.db.executemany(
                "DELETE FROM ai_decisions WHERE id = ?", [(row.id,) for row in gone]
            )
            counts = Counter(row.review for row in gone)
            self.db.executemany(
                "INSERT INTO removed VALUES (?1, ?2) ON CONFLICT (review) DO UPDATE SET n = n + ?2",
                [(str(state), n) for state, n in counts.items()],
            )
        return counts


def _n_bytes(entry: Entry) -> int:
    texts = (entry.correction, entry.comment)
    return entry.exchange.n_bytes + sum(len(text.encode()) for text in texts if text)


def review_counts(path: Path) -> ReviewCounts | None:
    """
    Return how many answers are where, for a page or a metric.

    Args:
        path: ``layout.feedback``; it is opened for reading only.

    Returns:
        Zeros if there is no such file; None if it cannot be read now.
    """
    if not path.exists():
        return ReviewCounts()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.5)) as db:
            by_state = dict(db.execute("SELECT review, count(*) FROM ai_decisions GROUP BY review"))
            removed = dict(db.execute("SELECT review, n FROM removed"))
    except sqlite3.Error:
        return None
    undelivered = sum(int(by_state.get(state, 0)) for state in KEPT_UNTIL_DELIVERED)
    return ReviewCounts(
        recorded=sum(int(n) for n in by_state.values()),
        waiting=int(by_state.get(ReviewState.WAITING, 0)),
        approved=undelivered,
        rejected=int(by_state.get(ReviewState.REJECTED, 0)),
        delivered=int(by_state.get(ReviewState.DELIVERED, 0)),
        removed=sum(int(n) for n in removed.values()),
        removed_waiting=int(removed.get(ReviewState.WAITING, 0)),
    )
