"""
JSON text that is not one value on each line, split into its values.

The text of each value is kept as it is, numbers to the last digit; only line breaks between
its parts become blanks. Whether it is valid JSON is not looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from finetuned.data.file_shape import BOM
from finetuned.data.strict_json import READ_BYTES, Oversized
from finetuned.sources.conversion.row import CannotConvert

Read = Callable[[int], bytes]
"""Returns at most so many bytes, none at the end of the file."""

_STRUCTURE: Final = re.compile(rb'["{}\[\],]')
_IN_STRING: Final = re.compile(rb'["\\]')
_BREAK: Final = re.compile(rb'("(?:[^"\\]|\\.)*+")|[ \t]*[\r\n][ \t\r\n]*', re.DOTALL)
_BLANK: Final = b" \t\r\n\x1e"
"""Between values; 0x1e begins each value of a JSON text sequence (RFC 7464)."""
_HEAD_BYTES: Final = 800


class ValueSplitter:
    """
    Splits text that is given piece by piece into the values at its top, or in its one array.
    """

    def __init__(self, *, in_array: bool, max_bytes: int) -> None:
        """
        Args:
            in_array: Whether the values are the elements of an array; of several, one after
                another, if the text holds several.
            max_bytes: Longest value that is handed out, in bytes.
        """
        self._base = int(in_array)
        self._max_bytes = max_bytes
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._parts: list[bytes] = []
        self._held = 0  # bytes of the value so far, which may be more than is in parts
        self._line = 1  # on which the value begins
        self._breaks = 0  # line breaks of the value that are in no part

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes | Oversized]]:
        """
        Yield the values that *piece* completes, each with the line on which it begins.

        Raises:
            CannotConvert: The text has a bracket too many, or something beside its array.
        """
        begins = at = 0
        while (found := self._next(piece, at)) is not None:
            sign, at = found
            if sign in (b"{", b"["):
                if self._depth < self._base:
                    self._open_array(piece[begins:at])
                    begins = at
                self._depth += 1
                continue
            self._depth -= sign != b","
            if self._depth < 0:
                self._hold(piece[begins : at - 1])
                raise CannotConvert(
                    f"line {self._line}: found {sign.decode()} without its opening bracket"
                )
            ends_itself = sign != b"," and self._depth == self._base == 0
            ends_before = self._depth == (self._base if sign == b"," else self._base - 1)
            if ends_itself or ends_before:
                self._hold(piece[begins : at if ends_itself else at - 1])
                begins = at
                yield from self._value()
        self._hold(piece[begins:])

    def close(self) -> Iterator[tuple[int, bytes | Oversized]]:
        """
        Yield what is left at the end of the text.

        Raises:
            CannotConvert: A string, an object or the array is not closed.
        """
        if self._in_string or self._depth > 0:
            what = "the value that begins here" if self._held else "the array"
            raise CannotConvert(
                f"line {self._line}: {what} is not closed at the end of the file; the file was "
                "cut, or a quote or a bracket is missing"
            )
        if self._base and self._held:
            raise self._outside()
        yield from self._value()

    def _next(self, piece: bytes, at: int) -> tuple[bytes, int] | None:
        """Return the next sign outside of strings and the position after it."""
        while at < len(piece):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            match = (_IN_STRING if self._in_string else _STRUCTURE).search(piece, at)
            if match is None:
                return None
            sign, at = match.group(), match.end()
            if sign == b"\\":
                self._escaped = True
            elif sign == b'"':
                self._in_string = not self._in_string
            else:
                return sign, at
        return None

    def _hold(self, part: bytes) -> None:
        if not self._held:  # white space before a value belongs to none
            rest = part.lstrip(_BLANK + BOM)
            self._line += part.count(b"\n", 0, len(part) - len(rest))
            part = rest
        self._held += len(part)
        if self._held <= self._max_bytes:
            self._parts.append(part)
            return
        head = b"".join((*self._parts, part))
        self._breaks += head.count(b"\n", _HEAD_BYTES)
        self._parts = [head[:_HEAD_BYTES]]

    def _open_array(self, before: bytes) -> None:
        self._hold(before[:-1])
        if self._held or before[-1:] != b"[":
            self._hold(before[-1:])
            raise self._outside()

    def _outside(self) -> CannotConvert:
        text = b"".join(self._parts)[:40].decode("utf-8", "replace")
        return CannotConvert(f"line {self._line}: found {text!r} outside of the array")

    def _value(self) -> Iterator[tuple[int, bytes | Oversized]]:
        text, held, line = b"".join(self._parts).rstrip(_BLANK), self._held, self._line
        self._line += self._breaks + b"".join(self._parts).count(b"\n")
        self._parts, self._held, self._breaks = [], 0, 0
        if held > self._max_bytes:
            yield line, Oversized(held, text)
        elif text:
            yield line, _on_one_line(text)


def values_of(
    read: Read, *, in_array: bool, max_bytes: int
) -> Iterator[tuple[int, bytes | Oversized]]:
    """
    Yield the values of a text, each with the line on which it begins.

    Raises:
        CannotConvert: The text is cut or has a bracket too many.
    """
    splitter = ValueSplitter(in_array=in_array, max_bytes=max_bytes)
    while piece := read(READ_BYTES):
        yield from splitter.feed(piece)
    yield from splitter.close()


def _on_one_line(text: bytes) -> bytes:
    if b"\n" not in text and b"\r" not in text:
        return text
    return _BREAK.sub(lambda match: match.group(1) or b" ", text)
