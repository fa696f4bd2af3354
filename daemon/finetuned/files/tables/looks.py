"""
Looks in the journal: how many candidates were judged against one release.

Each of them is another chance to be promoted by luck, which the gate makes up for.
"""

from __future__ import annotations

from finetuned.files.database import Database


class Looks:
    """
    The table ``looks``: one row for each evaluation that was judged.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def before(self, promotion: int, *, run_id: str) -> int:
        """
        Return how many candidates were judged against a release, without those of run *run_id*.

        Args:
            promotion: Number of the decision that made it the release, 0 before the first.
            run_id: An evaluation.
        """
        row = self._database.db.execute(
            "SELECT coalesce(sum(candidates), 0) FROM looks WHERE promotion = ? AND run_id != ?",
            (promotion, run_id),
        ).fetchone()
        return int(row[0])

    def add(self, run_id: str, promotion: int, candidates: int) -> None:
        """
        Record that *candidates* of an evaluation were judged; a recorded one is left alone.
        """
        self._database.change(
            "INSERT OR IGNORE INTO looks (run_id, promotion, candidates) VALUES (?, ?, ?)",
            (run_id, promotion, candidates),
        )
