"""
Whether a worker that did a run holds little enough memory to take another.

Does not know what the memory holds.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable

import psutil

from finetuned.core.run_end import outgrown

Idle = Callable[[], bool | None]
"""Gives back a device's memory between two runs; False if only the process's end does that."""


class MemoryLimit:
    """
    Compares the resident memory after each run with that after the first.
    """

    def __init__(self, idle: Idle | None) -> None:
        self._idle = idle
        self._first_rss_bytes: int | None = None

    def permits_another_run(self, growth: float) -> bool:
        """
        Give back the device's memory and return whether this process may take another run.

        Args:
            growth: How many times the memory of the first run it may hold, > 0.
        """
        try:
            if self._idle is not None and self._idle() is False:
                return False
        except Exception:
            traceback.print_exc()  # the run ended well; only this process cannot go on
            return False
        held = _rss_bytes()
        if self._first_rss_bytes is None:
            self._first_rss_bytes = held
        if not outgrown(held, self._first_rss_bytes, growth):
            return True
        gc.collect()  # costs 100 ms, so only if it may save a start
        return not outgrown(_rss_bytes(), self._first_rss_bytes, growth)


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)
