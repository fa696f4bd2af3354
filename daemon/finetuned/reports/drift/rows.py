"""
Rows of dropped files and recorded requests, as values that can be compared.

Passwords are replaced before anything else is done with a text. Of a large file rows are read at
places spread evenly over it, so that the time does not grow with its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from finetuned.core.drift.answered import Answered
from finetuned.core.drift.asked import Asked
from finetuned.data.examples import Example, from_record
from finetuned.data.reader import ReadRow, read_line
from finetuned.data.redacted_exchange import without_passwords
from finetuned.data.store import HELD_OUT_EXAMPLES
from finetuned.files.answered_requests import AnsweredRequest
from finetuned.files.claims import claimed_file
from finetuned.files.rows import DatasetRow
from finetuned.layout import Layout

WHOLE_BYTES: Final = 8 << 20
"""Up to this size a file is read whole."""
MOST_LINE: Final = 1 << 20
"""Bytes of a line; a longer one is left out."""


@dataclass(frozen=True, slots=True)
class Pair:
    """
    A prompt and its answer.
    """

    asked: Asked
    answer: str | None
    """None for a text, which has no answer, and for a call of a tool."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One recorded request.
    """

    asked: Asked
    answered: Answered
    model: str


def rows_of(layout: Layout, row: DatasetRow, *, most: int) -> list[Pair] | None:
    """
    Return at most *most* rows of one dropped file; None if nothing of it is on disk any more.

    From the original, wherever it is; if a person removed that, from the rows of the dataset that
    are held out, which are a fair sample.

    Raises:
        OSError: The file system refused.
    """
    original = _original(layout, row)
    if original is not None:
        lines = _lines_of(original, most)
        read = (read_line(line) for line in lines)
        return [_pair(found.example) for found in read if isinstance(found, ReadRow)]
    if row.dataset_id is None:
        return None
    try:
        data = (layout.datasets / row.dataset_id / HELD_OUT_EXAMPLES).read_bytes()
    except FileNotFoundError:
        return None
    return [_pair(from_record(orjson.loads(line))) for line in _evenly(data.splitlines(), most)]


def _original(layout: Layout, row: DatasetRow) -> Path | None:
    try:
        path = layout.root / row.final_path if row.final_path else claimed_file(layout, row.key)
    except FileNotFoundError:
        return None
    return path if path is not None and path.is_file() else None


def _lines_of(path: Path, most: int) -> Iterator[bytes]:
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
        yield from _evenly(lines, most)
        return
    with path.open("rb") as f:
        for i in range(most):
            f.seek(size * i // most)
            if i:
                f.readline(MOST_LINE)  # the rest of a line that begins before
            line = f.readline(MOST_LINE)
            if line.endswith(b"\n") or (line and f.tell() == size):
                yield line.rstrip(b"\n")


def _evenly(lines: Sequence[bytes], most: int) -> list[bytes]:
    n = len(lines)
    return [lines[i * n // most] for i in range(most)] if n > most else list(lines)


def _pair(example: Example) -> Pair:
    if example.kind == "text":
        return Pair(Asked(example.text or "", plain=True), None)
    last = example.messages[-1]
    text = None if last.get("tool_calls") else str(last.get("content") or "")
    turns, (answer,) = without_passwords(example.messages[:-1], [text])
    return Pair(_asked(turns, tools=bool(example.tools), plain=False), answer)


def request_of(found: AnsweredRequest) -> Request:
    """
    Return one recorded request as a value.

    Raises:
        ValueError: Its turns are not what this program writes.
    """
    turns = orjson.loads(found.messages)
    return Request(
        _asked(turns, tools=found.has_tools, plain=found.plain),
        Answered(found.answer, found.finish_reason, found.confidence, found.calls_tools),
        found.model,
    )


def _asked(turns: Sequence[Mapping[str, object]], *, tools: bool, plain: bool) -> Asked:
    users = [turn for turn in turns if turn.get("role") == "user"]
    text = _text((users or list(turns))[-1].get("content")) if turns else ""
    others = [turn for turn in turns if turn.get("role") not in ("system", "developer")]
    return Asked(text, len(others), len(others) < len(turns), tools, plain)


def _text(content: object) -> str:
    if isinstance(content, list):  # parts, as OpenAI writes them
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
