"""
What runs used, in the journal: time, processor time, energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from finetuned.files.database import Database
from finetuned.files.rows import UsageRow


class Usage:
    """
    The table ``usage``. A run of an earlier version of the program has no row.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, rows: Sequence[UsageRow]) -> None:
        """
        Record what runs used so far, in one transaction; each row takes the place of the last.
        """
        with self._database.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO usage (run_id, seconds, cpu_seconds, cpu_joules,"
                " gpu_joules, gpus) VALUES (:run_id, :seconds, :cpu_seconds, :cpu_joules,"
                " :gpu_joules, :gpus)",
                [asdict(row) for row in rows],
            )

    def all(self) -> dict[str, UsageRow]:
        """
        Return what each run used, by its id.
        """
        rows = self._database.read(UsageRow, "SELECT * FROM usage ORDER BY run_id")
        return {row.run_id: row for row in rows}
