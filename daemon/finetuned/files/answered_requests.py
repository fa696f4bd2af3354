"""
Recorded requests of a span of time, as models/serving/feedback.sqlite3 has them.

Passwords were replaced before they were written.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """
    One request and its answer.
    """

    at: str
    """RFC 3339 UTC."""
    model: str
    """What answered, such as v0007."""
    messages: str
    """JSON list of the turns before the answer."""
    plain: bool
    """Whether the prompt was text that no template was put around."""
    has_tools: bool
    answer: str
    calls_tools: bool
    finish_reason: str
    confidence: float


def read_requests(
    path: Path, begin: str, end: str, *, most: int
) -> tuple[list[AnsweredRequest], int]:
    """
    Return the different requests of a span, and how many there are with those that are repeated.

    Requests with the same question and the same answer are one. If there are more than *most*,
    it is a fair choice that is always the same: by their hash.

    Args:
        path: ``layout.feedback``; nothing is found if there is no such file.
        begin: RFC 3339 UTC.
        end: Likewise, not included.
        most: Requests that are returned at most.

    Raises:
        sqlite3.Error: The file is no such file, or cannot be read.
    """
    if not path.is_file():
        return [], 0
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=1)) as db:
        (n,) = db.execute(
            "SELECT count(*) FROM ai_decisions WHERE timestamp >= ? AND timestamp < ?",
            (begin, end),
        ).fetchone()
        found = db.execute(
            "SELECT min(timestamp), llm_model, messages, plain, tools IS NOT NULL, answer,"
            " tool_calls IS NOT NULL, finish_reason, confidence FROM ai_decisions"
            " WHERE timestamp >= ? AND timestamp < ? GROUP BY fingerprint"
            " ORDER BY fingerprint LIMIT ?",
            (begin, end, most),
        ).fetchall()
    return [_request(row) for row in found], int(n)


def _request(row: tuple[str, str, str, int, int, str, int, str, float]) -> AnsweredRequest:
    at, model, messages, plain, tools, answer, calls, finish_reason, confidence = row
    return AnsweredRequest(
        at=at,
        model=model,
        messages=messages,
        plain=bool(plain),
        has_tools=bool(tools),
        answer=answer,
        calls_tools=bool(calls),
        finish_reason=finish_reason,
        confidence=confidence,
    )
