"""
What a reader of a foreign shape yields: rows as JSON text, and rows that cannot be one.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.data.strict_json import Oversized, parse_line
from finetuned.errors import FinetunedError, MalformedExample


class CannotConvert(FinetunedError):
    """
    A file from which no JSON lines can be made; the message says why and what to do.
    """


@dataclass(frozen=True, slots=True)
class Row:
    """
    One JSON object, as text on one line.
    """

    place: int
    """The line of the source on which it begins, or the number of the row in a Parquet file."""
    text: bytes


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """
    One value of the source that does not become a row.
    """

    place: int
    reason: str


def row_of(place: int, text: bytes | Oversized, *, max_bytes: int) -> Row | RefusedRow:
    """
    Return a row if *text* is one JSON object on one line, read as strictly as a dropped line.

    Args:
        place: As Row.place.
        text: UTF-8 without line breaks.
        max_bytes: Longest row, for the message.
    """
    if isinstance(text, Oversized):
        return RefusedRow(place, f"it has {text.n_bytes} bytes, at most {max_bytes} are allowed")
    try:
        value = parse_line(text)
    except MalformedExample as error:
        return RefusedRow(place, str(error.reason))
    if not isinstance(value, dict):
        return RefusedRow(
            place, f"found {text[:40].decode('utf-8', 'replace')}, expected an object"
        )
    return Row(place, text)
