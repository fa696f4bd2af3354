"""
Messages in the journal: written once, and on their way to each addressee until they arrived.

A try is counted before it begins and its outcome recorded after it. If the process is killed
in between, the message is sent again: an addressee may get it twice, and never loses it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime

from finetuned.core.delivery import DeliveryState
from finetuned.files.database import Database
from finetuned.files.message_rows import DailyReportRow, DeliveryRow, MessageRow
from finetuned.files.run import utc_now

NOT_ENDED = "the last try did not end: it took too long, or its process was killed"
"""The problem of a try of which no outcome is recorded."""


class Messages:
    """
    The tables ``messages``, ``deliveries`` and ``daily_reports``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, subject: str, body: str, picture: bytes | None, to: Sequence[str]) -> int:
        """
        Write a message to each of *to*, in one transaction; return its number, >= 1.

        Args:
            subject: One line.
            body: JSON of reports/daily/message.py.
            picture: PNG that its HTML refers to.
            to: Names of ``report.to``.
        """
        now = utc_now()
        with self._database.write() as db:
            number = db.execute(
                "INSERT INTO messages (written_at, subject, body, picture) VALUES (?, ?, ?, ?)",
                (now, subject, body, picture),
            ).lastrowid
            assert number is not None  # noqa: S101  an INSERT gives one
            db.executemany(
                "INSERT INTO deliveries (message, addressee, state, next_try_at)"
                " VALUES (?, ?, 'waiting', ?)",
                [(number, name, now) for name in to],
            )
        return number

    def get(self, number: int) -> MessageRow:
        """
        Return one message.

        Raises:
            KeyError: There is none of that number.
        """
        row = self._database.read_one(MessageRow, "SELECT * FROM messages WHERE id = ?", (number,))
        if row is None:
            raise KeyError(number)
        return row

    def due(self, now: datetime) -> list[DeliveryRow]:
        """
        Return the deliveries whose time has come, the one that waits longest first.

        A try that the clock put into the far future, since it went back, is due as well.

        Args:
            now: With a time zone.
        """
        return [row for row in self.waiting() if _is_due(row, now)]

    def waiting(self) -> list[DeliveryRow]:
        """
        Return the deliveries that did not arrive and are not given up.
        """
        return self._database.read(
            DeliveryRow,
            "SELECT * FROM deliveries WHERE state = 'waiting' ORDER BY next_try_at, message",
        )

    def begin_try(self, row: DeliveryRow, next_try: datetime) -> None:
        """
        Count a try before it begins.

        Args:
            row: The delivery.
            next_try: When it is tried again, should this one fail or never end. With a time zone.
        """
        self._set(row, DeliveryState.WAITING, row.attempts + 1, next_try.isoformat(), NOT_ENDED)

    def note_failed(self, row: DeliveryRow, problem: str) -> None:
        """
        Record why the try that begin_try() counted failed.
        """
        self._database.change(
            "UPDATE deliveries SET problem = ? WHERE message = ? AND addressee = ?",
            (problem, row.message, row.addressee),
        )

    def note_sent(self, row: DeliveryRow) -> None:
        """
        Record that the server took the message.
        """
        with self._database.write() as db:
            db.execute(
                "UPDATE deliveries SET state = 'sent', problem = NULL, sent_at = ?"
                " WHERE message = ? AND addressee = ?",
                (utc_now(), row.message, row.addressee),
            )
            self._let_go(row.message)

    def give_up(self, row: DeliveryRow) -> None:
        """
        Record that a message is not tried any more; its last problem stays.
        """
        with self._database.write():
            self._set(row, DeliveryState.GIVEN_UP, row.attempts, row.next_try_at, row.problem)
            self._let_go(row.message)

    def _let_go(self, message: int) -> None:
        """Drop the content of a message that nobody waits for: pictures would fill the journal."""
        self._database.change(
            "UPDATE messages SET body = '', picture = NULL WHERE id = ?1 AND NOT EXISTS"
            " (SELECT 1 FROM deliveries WHERE message = ?1 AND state = 'waiting')",
            (message,),
        )

    def _set(
        self, row: DeliveryRow, state: DeliveryState, attempts: int, at: str, problem: str | None
    ) -> None:
        self._database.change(
            "UPDATE deliveries SET state = ?, attempts = ?, next_try_at = ?, problem = ?"
            " WHERE message = ? AND addressee = ?",
            (state, attempts, at, problem, row.message, row.addressee),
        )

    def in_trouble(self, to: Collection[str]) -> list[DeliveryRow]:
        """
        Return the deliveries that were tried in vain, and those that were given up, oldest first.

        One that was given up counts until a later message arrived.

        Args:
            to: Names of ``report.to``; deliveries to others trouble nobody.
        """
        rows = self._database.read(
            DeliveryRow,
            "SELECT * FROM deliveries d WHERE (state = 'waiting' AND problem IS NOT NULL)"
            " OR (state = 'given_up' AND NOT EXISTS (SELECT 1 FROM deliveries l WHERE"
            " l.addressee = d.addressee AND l.state = 'sent' AND l.message > d.message))"
            " ORDER BY message, addressee",
        )
        return [row for row in rows if row.addressee in to]

    # -- daily reports ------------------------------------------------------------

    def last_daily(self) -> DailyReportRow | None:
        """
        Return the daily report of the newest day, None before the first.
        """
        return self._database.read_one(
            DailyReportRow, "SELECT * FROM daily_reports ORDER BY last_day DESC LIMIT 1"
        )

    def add_daily(self, first: date, last: date, message: int | None) -> bool:
        """
        Record the report of *first* to *last*; return False if there is one of *last* already.

        Belongs into the transaction that writes its message.
        """
        return 1 == self._database.change(
            "INSERT OR IGNORE INTO daily_reports (last_day, first_day, made_at, message)"
            " VALUES (?, ?, ?, ?)",
            (last.isoformat(), first.isoformat(), utc_now(), message),
        )


def _is_due(row: DeliveryRow, now: datetime) -> bool:
    try:
        at = datetime.fromisoformat(row.next_try_at)
        return at <= now or (at - now).total_seconds() > _FAR_SECONDS
    except (TypeError, ValueError):
        return True


_FAR_SECONDS = 24 * 3600.0
"""No pause is this long: a later time was recorded by a clock that was wrong."""
