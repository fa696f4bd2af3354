"""
How busy the GPUs are while a worker runs, summed up by hour for the daily report.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from finetuned.files.run import utc_now
from finetuned.files.tables.device_use import DeviceUse
from finetuned.telemetry.gpu import Reading

WRITE_SECONDS = 60.0
"""Least time between two writes: readings since then are lost by a kill, and nobody misses them."""


class DeviceMeter:
    """
    Collects readings and writes their sums now and then.
    """

    def __init__(self, table: DeviceUse) -> None:
        self._table = table
        self._hour = ""
        self._n, self._sum = 0, 0.0
        self._written = time.monotonic()

    def take(self, readings: Sequence[Reading]) -> None:
        """
        Take in what the GPUs do while a worker runs; empty without a GPU.
        """
        hour = utc_now()[:13]
        if hour != self._hour or time.monotonic() - self._written >= WRITE_SECONDS:
            self.write()
        self._hour = hour
        for reading in readings:
            busy = reading.get("utilisation_pct")
            if isinstance(busy, int | float):
                self._n, self._sum = self._n + 1, self._sum + busy

    def write(self) -> None:
        """
        Write what was taken in since the last time; a journal that is busy loses it.
        """
        self._written = time.monotonic()
        if self._n:
            with suppress(sqlite3.OperationalError):
                self._table.add(self._hour, self._n, self._sum)
        self._n, self._sum = 0, 0.0
