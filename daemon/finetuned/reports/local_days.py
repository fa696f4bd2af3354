"""
Local days as spans of the times that the journal writes.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def begin_of(day: date) -> str:
    """
    Return when a local day begins, as the journal writes times: RFC 3339 UTC.
    """
    begin = datetime.combine(day, time()).astimezone(UTC)
    return begin.isoformat(timespec="milliseconds").replace("+00:00", "Z")
