"""
A found row without its secrets, read as training will read it, with its provenance. Pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import orjson

from finetuned.core.review import Entry, Reason, RecordedExchange, ReviewState
from finetuned.data.examples import Example
from finetuned.data.messages import Message
from finetuned.data.reader import read_line
from finetuned.errors import MalformedExample
from finetuned.sources.imports.found import FoundRow, Refusal
from finetuned.sources.imports.secrets import without_secrets

ROUTE: Final = "import"
"""In the place of the address at which a recorded question was asked."""


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """
    A row that training takes.
    """

    found: FoundRow
    row: dict[str, object]
    """Without secrets and without provenance."""
    example: Example
    proposed: str | None
    comment: str | None
    had_secrets: bool

    @property
    def digest(self) -> bytes:
        """Equal for rows that ask and answer the same."""
        example = self.example
        text = orjson.dumps([example.messages, example.tools, example.untrained, self.proposed])
        return hashlib.blake2b(text, digest_size=12).digest()


def checked(found: FoundRow, *, max_bytes: int) -> CheckedRow | Refusal:
    """
    Return the row if it can be trained, whatever its confidence, else why not.

    Args:
        found: As a reader yields it.
        max_bytes: Longest row.
    """
    given = {"row": found.row, "proposed": found.proposed, "comment": found.comment}
    clean = without_secrets(given)
    row = clean["row"]
    assert isinstance(row, dict)  # noqa: S101 - a mapping stays one
    try:
        line = orjson.dumps(row)
    except (TypeError, orjson.JSONEncodeError) as error:
        return Refusal(found.place, "not_utf8", f"a text in it cannot be written: {error}")
    if len(line) > max_bytes:
        detail = f"it has {len(line)} bytes, at most {max_bytes} are allowed"
        return Refusal(found.place, "line_too_long", detail)
    read = read_line(line)
    if isinstance(read, MalformedExample):
        return Refusal(found.place, read.code, str(read.reason))
    if read.example.kind == "text":
        detail = "text without a question; drop the file as it is, it needs no import"
        return Refusal(found.place, "text_row", detail)
    proposed, comment = clean["proposed"], clean["comment"]
    return CheckedRow(
        found,
        row,
        read.example,
        None if proposed is None else str(proposed),
        None if comment is None else str(comment),
        found.had_secrets or clean != given,
    )


def provenance(found: FoundRow, kind: str, verified_by: str | None) -> dict[str, object]:
    """
    Return where a row comes from, as ``metadata.import`` of a row has it.
    """
    place = found.place
    origin: dict[str, object] = {"kind": kind, "file": place.file, "line": place.line}
    if place.part:
        origin["part"] = place.part
    said = {"at": found.at, "model": found.model}
    origin |= {key: value for key, value in said.items() if value is not None}
    origin |= {"confidence": found.confidence, "verified": found.verified, **found.facts}
    if verified_by is not None and not found.verified:
        origin["vouched_by"] = verified_by
    return origin


def training_line(row: CheckedRow, origin: dict[str, object]) -> bytes:
    """
    Return the line of a row that may be trained.
    """
    given = row.row.get("metadata")
    kept = given if isinstance(given, dict) else {} if given is None else {"metadata": given}
    return orjson.dumps(
        {**row.row, "metadata": {"source": "import", **kept, "import": origin}}
    ) + b"\n"  # fmt: skip


def entries_of(
    row: CheckedRow, origin: dict[str, object], reasons: tuple[Reason, ...], now: str
) -> list[Entry]:
    """
    Return what a person has to look at: each answer of the row that would be trained.

    Args:
        row: The row.
        origin: Its provenance.
        reasons: Why a person must look.
        now: RFC 3339 UTC, for a row that does not say when it was asked.
    """
    example, found = row.example, row.found
    answers = [
        i
        for i, message in enumerate(example.messages)
        if message["role"] == "assistant" and i not in example.untrained
    ]
    entries = []
    for i in answers:
        last = i == len(example.messages) - 1
        entries.append(
            Entry(
                exchange=_exchange(row, i, origin, now),
                thumbs=found.thumbs,
                correction=row.proposed if last else None,
                comment=row.comment if last else None,
                review=ReviewState.WAITING,
                reasons=reasons,
            )
        )
    return entries


def _exchange(row: CheckedRow, i: int, origin: dict[str, object], now: str) -> RecordedExchange:
    example, found = row.example, row.found
    answer = example.messages[i]
    parts = (_json(example.messages[:i]), _json(example.tools), _json(answer), row.proposed)
    digest = hashlib.sha256(orjson.dumps(parts)).hexdigest()
    return RecordedExchange(
        id=f"import-{digest[:24]}",
        at=found.at or now,
        key_id="",
        route=ROUTE,
        model=found.model or "unknown",
        messages=parts[0] or "[]",
        tools=parts[1],
        answer=answer["content"],
        tool_calls=_json(answer.get("tool_calls")),
        reasoning=answer.get("reasoning_content"),
        finish_reason="stop",
        confidence=found.confidence or 0.0,
        tokens=0,
        duration_ms=0,
        origin=_json(origin),
    )


def _json(value: Message | list[Message] | None) -> str | None:
    return orjson.dumps(value).decode() if value else None
