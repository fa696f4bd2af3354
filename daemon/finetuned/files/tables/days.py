"""
What the journal says of a span of time: files, jobs, runs and decisions in it.
"""

from __future__ import annotations

from finetuned.files.database import Database
from finetuned.files.rows import DatasetRow, JobRow, PromotionRow, RunRow


class Days:
    """
    Questions about a span. Its ends are RFC 3339 UTC; the second is not part of it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def dropped(self, begin: str, end: str) -> list[DatasetRow]:
        """
        Return the files that were claimed in it, by arrival.
        """
        return self._database.read(
            DatasetRow,
            "SELECT * FROM datasets WHERE claimed_at >= ? AND claimed_at < ? ORDER BY key",
            (begin, end),
        )

    def ended(self, begin: str, end: str) -> list[JobRow]:
        """
        Return the jobs that ended in it, in that order.
        """
        return self._database.read(
            JobRow,
            "SELECT * FROM jobs WHERE updated_at >= ? AND updated_at < ?"
            " AND state IN ('promoted', 'held', 'rejected', 'skipped', 'failed')"
            " ORDER BY updated_at, id",
            (begin, end),
        )

    def runs(self, begin: str, end: str) -> list[RunRow]:
        """
        Return the runs that were alive in it, by age.
        """
        return self._database.read(
            RunRow,
            "SELECT * FROM runs WHERE started_at < ? AND (ended_at IS NULL OR ended_at >= ?)"
            " ORDER BY id",
            (end, begin),
        )

    def decisions(self, begin: str, end: str) -> list[PromotionRow]:
        """
        Return the decisions on the version in use that were made in it, in that order.
        """
        return self._database.read(
            PromotionRow,
            "SELECT * FROM promotions WHERE at >= ? AND at < ? ORDER BY seq",
            (begin, end),
        )

    def in_use_at(self, moment: str) -> str | None:
        """
        Return the version that was in use at a moment; None is the base model.
        """
        row = self._database.read_one(
            PromotionRow,
            "SELECT * FROM promotions WHERE at < ? ORDER BY seq DESC LIMIT 1",
            (moment,),
        )
        return None if row is None else row.version
