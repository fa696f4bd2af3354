"""
What a test does to the files of a root, and what it reads from its journal.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from support.tiny_base import write_rows


def journal(root: Path, sql: str, *arguments: str) -> list[dict[str, Any]]:
    """
    Return rows of the journal of *root*, as dicts.
    """
    db = sqlite3.connect(f"file:{root}/models/journal.sqlite3?mode=ro", uri=True, timeout=20)
    db.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in db.execute(sql, arguments)]
    finally:
        db.close()


def drop(root: Path, name: str, n: int, tag: str = "") -> Path:
    """
    Write *n* rows beside the inbox and rename the file in: what a careful producer does.
    """
    part = root / f"{Path(name).name}.part"
    write_rows(part, n, tag=tag)
    return part.rename(root / "inbox" / name)


def ended(status: dict[str, Any]) -> int:
    """
    Return how many jobs a status counts as judged.
    """
    queue = status["queue"]
    return queue["promoted"] + queue["held"] + queue["rejected"]


def log_events(root: Path) -> list[dict[str, Any]]:
    """
    Return the supervisor's log; every line must be one JSON object.
    """
    lines = (root / "logs" / "supervisor.log").read_bytes().split(b"\n")
    assert b"" == lines.pop()
    return [json.loads(line) for line in lines]
