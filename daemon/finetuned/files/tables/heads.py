"""
Heads in the journal: which version the next job starts from, and why.
"""

from __future__ import annotations

from finetuned.core.promotion import HeadCause
from finetuned.files.database import Database
from finetuned.files.rows import HeadRow
from finetuned.files.run import utc_now


class Heads:
    """
    The table ``heads``: every decision on the head; the last is in force.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> HeadRow | None:
        """
        Return the decision in force, or None if none was ever made.
        """
        return self._database.read_one(HeadRow, "SELECT * FROM heads ORDER BY seq DESC LIMIT 1")

    def all(self) -> list[HeadRow]:
        """
        Return every decision, oldest first.
        """
        return self._database.read(HeadRow, "SELECT * FROM heads ORDER BY seq")

    def version(self) -> str | None:
        """
        Return the version that the next job starts from; None is the base model.
        """
        last = self.last()
        return None if last is None else last.version

    def add(self, version: str | None, cause: HeadCause, *, job_id: str | None = None) -> None:
        """
        Decide on the head, None for the base model.

        The link models/head follows, at once or in recovery.
        """
        self._database.change(
            "INSERT INTO heads (version, cause, job_id, at) VALUES (?, ?, ?, ?)",
            (version, cause, job_id, utc_now()),
        )
