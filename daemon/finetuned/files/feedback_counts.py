"""
What models/serving/feedback.sqlite3 says of a span of time, as counts, for reports.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from finetuned.core.review import ReviewState, Thumbs


@dataclass(frozen=True, slots=True)
class FeedbackCounts:
    """
    Recorded answers of a span, and the review queue as it is now.
    """

    answers: int
    mean_ms: float | None
    thumbs_up: int
    thumbs_down: int
    review_waiting: int


def count_feedback(path: Path, begin: str, end: str) -> FeedbackCounts | None:
    """
    Return the counts, None if the service never recorded anything.

    Args:
        path: The file; it is only read.
        begin: RFC 3339 UTC.
        end: Likewise, not included.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    if not path.is_file():
        return None
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=1)) as db:
        answers, milliseconds, up, down = db.execute(
            "SELECT count(*), avg(llm_duration_ms), total(user_feedback = ?),"
            " total(user_feedback = ?) FROM ai_decisions WHERE timestamp >= ? AND timestamp < ?",
            (Thumbs.UP, Thumbs.DOWN, begin, end),
        ).fetchone()
        (waiting,) = db.execute(
            "SELECT count(*) FROM ai_decisions WHERE review = ?", (ReviewState.WAITING,)
        ).fetchone()
    return FeedbackCounts(int(answers), milliseconds, int(up), int(down), int(waiting))
