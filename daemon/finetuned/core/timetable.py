"""
When a daily task or report is due. Pure: the clock is an argument.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta


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


MOST_DAYS = 31
"""Days that one report covers at most, however long nothing ran."""


def days_due(now: datetime, *, at: str, last: date | None) -> tuple[date, date] | None:
    """
    Return the first and the last day that a daily report is due for, None if none is.

    A report is of whole days: after the time of day *at*, yesterday is due. If reports of
    several days were missed, one report covers them all, MOST_DAYS at most.

    Args:
        now: Local wall clock.
        at: Time of day such as ``03:00``; empty is never.
        last: The last local day that a report was made of, None before the first.
    """
    if not at:
        return None
    today, reached = now.date(), now.time() >= time.fromisoformat(at)
    due = today - timedelta(days=1 if reached else 2)
    if last is None:
        return (due, due) if reached else None
    if last >= due:
        return None
    return max(last + timedelta(days=1), due - timedelta(days=MOST_DAYS - 1)), due
