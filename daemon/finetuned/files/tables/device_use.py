"""
How busy the GPUs were while a worker ran, by hour, in the journal.
"""

from __future__ import annotations

from finetuned.files.database import Database


class DeviceUse:
    """
    The table ``device_use``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, hour: str, n: int, utilisation: float) -> None:
        """
        Add readings to an hour.

        Args:
            hour: RFC 3339 UTC, such as ``2026-11-20T09``.
            n: How many readings, >= 1.
            utilisation: Their sum, each 0 to 100.
        """
        self._database.change(
            "INSERT INTO device_use VALUES (?, ?, ?) ON CONFLICT (hour) DO UPDATE"
            " SET n = n + excluded.n, utilisation = utilisation + excluded.utilisation",
            (hour, n, utilisation),
        )

    def mean(self, begin: str, end: str) -> float | None:
        """
        Return the mean utilisation, 0 to 100, of the hours that begin in the span; None if none.

        Args:
            begin: RFC 3339 UTC.
            end: Likewise, not included.
        """
        n, total = self._database.db.execute(
            "SELECT total(n), total(utilisation) FROM device_use WHERE hour >= ? AND hour < ?",
            (begin[:13], end[:13]),
        ).fetchone()
        return total / n if n else None
