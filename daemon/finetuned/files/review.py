"""
A review queue: what waits, what was decided, and its files.

There are two of the same shape: models/serving/feedback.sqlite3 with what the service answered,
and models/serving/imported.sqlite3 with rows from elsewhere, which no age removes and no report of
what users ask counts.

A batch is the bytes of one file for inbox/. It is recorded with its name, and its rows are marked
as belonging to it, in one transaction before the file is written: whoever is killed in between
leaves a batch that the next start finds and finishes under the same name. Who writes it into
inbox/ is sources/approved.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import orjson

from finetuned.core.review import Entry, Reason
from finetuned.files.feedback import FeedbackFile
from finetuned.files.feedback_schema import fingerprint


@dataclass(frozen=True, slots=True)
class Batch:
    """
    One file for inbox/.
    """

    name: str
    sha256: str
    """Of *data*, in hex."""
    n_rows: int
    at: str
    """RFC 3339 UTC."""
    data: bytes


class ReviewQueue(FeedbackFile):
    """
    The file as ``finetuned review`` uses it.
    """

    def next(self, skipped: Collection[str] = ()) -> Entry | None:
        """
        Return the entry to look at: those with a correction first, merely unsure answers last,
        each the oldest first; None if there is none but *skipped*.
        """
        found = self.entries(
            "WHERE review = 'waiting' AND id NOT IN (SELECT value FROM json_each(?))"
            " ORDER BY correction IS NULL, reasons = ?, timestamp, rowid LIMIT 1",
            orjson.dumps(list(skipped)).decode(),
            str(Reason.UNSURE),
        )
        return found[0] if found else None

    def waiting(self) -> list[Entry]:
        """
        Return all entries that wait, in the order of next().
        """
        return self.entries(
            "WHERE review = 'waiting' ORDER BY correction IS NULL, reasons = ?, timestamp, rowid",
            str(Reason.UNSURE),
        )

    def enqueue(self, entries: Iterable[Entry]) -> tuple[int, int]:
        """
        Add entries from elsewhere that wait for review, in one transaction.

        One whose question and answer are in the queue already, or were decided on, word for word
        is left alone.

        Args:
            entries: With their reasons; passwords already replaced.

        Returns:
            How many were added, and how many were there.
        """
        added = known = 0
        with self.write() as db:
            for entry in entries:
                print_ = fingerprint(entry.exchange)
                if self._is_known(print_) or not self._add(entry.exchange, entry.reasons, print_):
                    known += 1
                    continue
                added += 1
                db.execute(
                    "UPDATE ai_decisions SET user_feedback = ?, correction = ?, user_comment = ?"
                    " WHERE id = ?",
                    (entry.thumbs, entry.correction, entry.comment, entry.exchange.id),
                )
        return added, known

    def decide(self, entry: Entry) -> bool:
        """
        Record a decision, in one transaction.

        Args:
            entry: As it was read, with *review* APPROVED or REJECTED and who decided when; its
                texts without passwords that the accepted answer gives away.

        Returns:
            False if nothing was recorded, because its user said more since it was read, somebody
            else decided, or it was removed.
        """
        with self.write():
            changed = self.db.execute(
                "UPDATE ai_decisions SET review = ?, approved = ?, messages = ?, answer = ?,"
                " reasoning = ?, correction = ?, user_comment = ?, decided_by = ?, decided_at = ?"
                " WHERE id = ? AND review = 'waiting' AND revision = ?",
                (
                    *(str(entry.review), entry.approved, entry.exchange.messages),
                    *(entry.exchange.answer, entry.exchange.reasoning, entry.correction),
                    *(entry.comment, entry.decided_by, entry.decided_at),
                    *(entry.exchange.id, entry.revision),
                ),
            )
        if changed.rowcount == 1 and entry.approved is not None:
            self.forget_old_pages()  # a password of it was in the question, perhaps
        return changed.rowcount == 1

    def approved(self) -> list[Entry]:
        """
        Return the entries that are accepted and belong to no batch, oldest first.
        """
        return self.entries("WHERE review = 'approved' ORDER BY timestamp, rowid")

    def begin_batch(self, batch: Batch, ids: Sequence[str]) -> None:
        """
        Record a batch and that these approved entries belong to it, in one transaction.

        Raises:
            ValueError: One of them is not approved any more; nothing was recorded.
        """
        with self.write() as db:
            db.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                (batch.name, batch.sha256, batch.n_rows, batch.at, batch.data),
            )
            changed = db.executemany(
                "UPDATE ai_decisions SET review = 'exporting', batch = ?"
                " WHERE id = ? AND review = 'approved'",
                [(batch.name, request_id) for request_id in ids],
            )
            if changed.rowcount != len(ids):
                raise ValueError(f"{len(ids) - changed.rowcount} entries are not approved any more")

    def unfinished(self) -> list[Batch]:
        """
        Return the batches of which it is not recorded that their file was in inbox/.
        """
        rows = self.db.execute(
            "SELECT name, sha256, n_rows, at, data FROM batches WHERE data IS NOT NULL"
        )
        return [Batch(*row) for row in rows]

    def finish_batch(self, name: str) -> None:
        """
        Record that the file of a batch was in inbox/, in one transaction. Idempotent.
        """
        with self.write() as db:
            db.execute("UPDATE batches SET data = NULL WHERE name = ?", (name,))
            db.execute(
                "UPDATE ai_decisions SET review = 'delivered'"
                " WHERE batch = ? AND review = 'exporting'",
                (name,),
            )
