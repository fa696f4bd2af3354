"""
Typed values over a byte stream: one line of JSON each, ``{"ClassName": {...}}``.

Writes and reads bytes; who holds the stream, and whether it blocks, is not known here.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

import orjson

from finetuned.core.record import from_json, to_json
from finetuned.errors import RecordError

T = TypeVar("T")

MAX_LINE_BYTES = 32 << 20
"""Longest line: no request of a client may be as long as that."""


class Channel(Generic[T]):
    """
    The values of one direction of a stream.
    """

    def __init__(self, kind: object, source: str) -> None:
        """
        Args:
            kind: A union of frozen dataclasses, such as core.generation.Order.
            source: Who writes them, for errors.
        """
        self._kinds: dict[str, Any] = {m.__name__: m for m in get_args(kind) or (kind,)}
        self._source = source

    def encode(self, value: T) -> bytes:
        """
        Return *value* as one line.
        """
        return orjson.dumps({type(value).__name__: to_json(value)}) + b"\n"

    def decode(self, line: bytes) -> T:
        """
        Return the value of one line.

        Raises:
            RecordError: It is none of the values of this direction.
        """
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RecordError(self._source, "", f"not JSON: {error}") from None
        if not isinstance(found, dict) or len(found) != 1 or next(iter(found)) not in self._kinds:
            raise RecordError(self._source, "", f"expected one of {', '.join(self._kinds)}")
        ((name, body),) = found.items()
        value: T = from_json(self._kinds[name], body, source=self._source)
        return value
