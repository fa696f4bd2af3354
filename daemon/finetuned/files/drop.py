"""
Rows as JSON lines, written whole into an inbox. Used by every source of rows.

Knows bytes and names of files; does not know what the rows say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from finetuned.files.atomic import write_atomic


def to_jsonl(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """
    Return *rows* as JSON lines, UTF-8, one final newline each.
    """
    return b"".join(orjson.dumps(dict(row)) + b"\n" for row in rows)


def drop(rows: Iterable[Mapping[str, Any]], inbox: Path, name: str) -> Path:
    """
    Put *rows* into an inbox directory as one dataset, the same way as any other program.

    Args:
        rows: Examples, one JSON object each.
        inbox: An existing directory.
        name: File name; must end in ``.jsonl`` and not start with a dot.

    Returns:
        The path of the file, which appeared whole.

    Raises:
        ValueError: The daemon would ignore a file of this name.
        OSError: The disk refused; no part of the file is visible.
    """
    if not name.endswith(".jsonl") or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"{name!r} is not the name of a dataset")
    path = inbox / name
    write_atomic(path, to_jsonl(rows))
    return path
