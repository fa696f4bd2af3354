"""
What users got from the service, version by version: read from models/serving/feedback.sqlite3.

Only requests that were recorded are known ([serving] says which and for how long).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Production:
    """
    The recorded requests that one version answered.
    """

    version: str
    requests: int
    first_at: str
    last_at: str
    liked: int
    """Answers that their users found good."""
    disliked: int
    corrected: int
    """Answers that their users put right."""
    confidence: float
    """Mean, 0 to 1."""
    milliseconds: float
    """Mean time to the whole answer."""
    tokens: int
    """Of prompts and answers."""


def read_production(path: Path) -> list[Production]:
    """
    Return what each version answered, the first used first; nothing if there is no such file.

    Raises:
        sqlite3.Error: It is no such file, or the file system refused.
    """
    if not path.is_file():
        return []
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=1)) as db:
        found = db.execute(
            "SELECT llm_model, count(*), min(timestamp), max(timestamp),"
            " sum(user_feedback IS 'thumbs_up'), sum(user_feedback IS 'thumbs_down'),"
            " sum(correction IS NOT NULL), avg(confidence), avg(llm_duration_ms),"
            " sum(llm_tokens_used) FROM ai_decisions GROUP BY llm_model ORDER BY min(timestamp)"
        )
        return [Production(*row) for row in found]
