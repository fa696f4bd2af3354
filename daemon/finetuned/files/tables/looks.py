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

    def before(self, release: str | None, *, run_id: str) -> int:
        """
        Return how many candidates were judged against *release*, without those of run *run_id*.

        A version that is put in use a second time goes on with its count: the rows are the same.

        Args:
            release: A version; None is the base model.
            run_id: An evaluation.
        """
        row = self._database.db.execute(
            "SELECT coalesce(sum(l.candidates), 0) FROM looks l"
            " LEFT JOIN promotions p ON p.seq = l.promotion"
            " WHERE p.version IS ? AND l.run_id != ?",
            (release, run_id),
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
