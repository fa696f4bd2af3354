"""
When a daily task is due. Pure: the clock is an argument.
"""

from __future__ import annotations

from datetime import date, datetime, time


def is_due(now: datetime, *, at: str, last: date | None) -> bool:
    """
    Return whether the time of day has come and the task was not done today.

    Once per local date, however the clock jumps: a date that is done is not due
    again when the clock goes back, and after a jump forward by days the task is
    due once.

    Args:
        now: Local wall clock.
        at: Time of day such as ``03:00``; empty is never.
        last: Local date when it was last done, None before the first time.
    """
    if not at:
        return False
    taken = last is not None and last >= now.date()
    return not taken and now.time() >= time.fromisoformat(at)
