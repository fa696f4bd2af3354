"""
Bytes to JSON values, refusing everything that two parsers could read in two ways.

Stricter than the standard library and than orjson: UTF-8 only, no NaN, no
number that is lost to infinity or to rounding of an integer, no key given
twice, no lone surrogate, at most 64 levels. Lines are split on b"\n" alone, in
memory that does not grow with the file or with its longest line.

Knows JSON text; does not know what a training example is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import orjson

from finetuned.data.file_shape import BOM
from finetuned.errors import MalformedExample

MAX_DEPTH: Final = 64
"""Most objects and arrays inside one another; real rows have about 10."""

READ_BYTES: Final = 1 << 20

_MIN_INT: Final = -(2**63)
_MAX_INT: Final = 2**64 - 1
_FIRST_ROUNDED: Final = float(2**63)
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Oversized:
    """
    A line that was longer than allowed and was skipped without being held.
    """

    n_bytes: int
    """Its length without the line feed; a CR counts."""

    head: bytes
    """Its first 800 bytes, for the report."""


def parse_line(line: bytes) -> object:
    """
    Parse one line of JSON Lines.

    Args:
        line: One JSON value in UTF-8, without its line break (a final CR is allowed).

    Raises:
        MalformedExample: The code is one of not_utf8, not_json, not_a_number,
            number_range, duplicate_key, too_deep; the reason gives the column
            (in characters, from 1), what was found and what was expected.
    """
    try:
        value = orjson.loads(line)
        suspicious = b"\\u003" in line or not _is_plain(value, line.count(b":"))
    except orjson.JSONDecodeError:
        suspicious = True
    if suspicious:
        return _parse_slowly(line)
    return value


def _is_plain(value: object, colons: int) -> bool:
    """
    Return whether orjson kept every pair, in range and not too deep.

    Each colon of the text stands after a key or inside a string. A pair that
    orjson dropped, because its key came again, takes at least its own colon
    with it, so the count of those left over tells exactly (an escaped colon
    would not count, which is why the caller looks for one).
    """
    stack: list[tuple[Any, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        kind = type(item)
        if kind is str:
            colons -= item.count(":")
        elif kind is dict:
            if depth > MAX_DEPTH:
                return False
            colons -= len(item)
            for key, inner in item.items():
                if ":" in key:
                    colons -= key.count(":")
                if type(inner) is str:
                    colons -= inner.count(":")
                else:
                    stack.append((inner, depth + 1))
        elif kind is list:
            if depth > MAX_DEPTH:
                return False
            stack.extend((inner, depth + 1) for inner in item)
        elif kind is float and not -_FIRST_ROUNDED < item < _FIRST_ROUNDED:
            return False
    return colons == 0


def _parse_slowly(line: bytes) -> object:
    """
    Parse with the standard library, to find the exact mistake, if there is one.
    """
    _check_encoding(line)
    depth = _depth(line)
    if depth > MAX_DEPTH:
        raise MalformedExample(
            "too_deep", f"found {depth} nested levels, expected at most {MAX_DEPTH}"
        )
    text = line.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        found = "the end of the line"
        if error.pos < len(text):
            found = f"{text[error.pos : error.pos + 20]!r}"
        # The position that some messages announce is given in front of them.
        expected = error.msg[0].lower() + error.msg[1:].removesuffix(" at").removesuffix(
            " starting"
        )
        raise MalformedExample(
            "not_json", f"column {error.pos + 1}: found {found}; {expected}"
        ) from None
    if "\\u" in text:
        _check_surrogates(value)
    # The standard library takes a few things that JSON does not have (such as
    # a form feed between values); orjson's verdict stands.
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise MalformedExample("not_json", f"column {error.colno}: {error.msg}") from None
    return value


def _check_encoding(line: bytes) -> None:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MalformedExample("not_utf8", "column 1: found a UTF-16 mark, expected UTF-8")
    if line.startswith(b"\xef\xbb\xbf"):
        raise MalformedExample(
            "not_utf8", "column 1: found a byte order mark, expected UTF-8 without one"
        )
    if b"\0" in line[:4]:
        raise MalformedExample(
            "not_utf8", "found a NUL byte at the start, expected UTF-8 (is it UTF-16 or UTF-32?)"
        )
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(line[: error.start].decode("utf-8")) + 1
        found = line[error.start : error.start + 4].hex(" ")
        raise MalformedExample(
            "not_utf8", f"column {column}: found the bytes {found}, expected UTF-8 ({error.reason})"
        ) from None


def _depth(line: bytes) -> int:
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for match in _BRACKETS.finditer(_STRING.sub(b"", line)):
        depth += 1 if match.group() in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _check_surrogates(value: Any) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise MalformedExample(
                    "not_utf8", f"found half a surrogate pair in {item[:20]!a}, expected both"
                )
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item.keys())
            stack.extend(item.values())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise MalformedExample(
                    "duplicate_key",
                    f"found the key {key[:60]!a} twice in one object, expected once",
                )
            seen.add(key)
    return result


def _constant(name: str) -> NoReturn:
    raise MalformedExample("not_a_number", f"found {name}, expected a number or null")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise MalformedExample(
            "number_range", f"found {text[:40]}, expected a number within +-1.8e308"
        )
    return value


def _int(text: str) -> int:
    # Length first: int() is quadratic and refuses more than 4,300 digits in its own way.
    if len(text) > 21 or not _MIN_INT <= (value := int(text)) <= _MAX_INT:
        raise MalformedExample(
            "number_range", f"found the integer {text[:40]}, expected one of at most 64 bits"
        )
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def iter_lines(
    fd: int,
    max_line_bytes: int,
    *,
    on_bytes: Callable[[bytes], object] | None = None,
    read_bytes: int = READ_BYTES,
) -> Iterator[tuple[int, int, bytes | Oversized]]:
    """
    Yield the lines of an open file from where it stands, in constant memory.

    Args:
        fd: A file descriptor open for reading.
        max_line_bytes: Longest line that is handed out, in bytes without its line break.
        on_bytes: Is given every chunk that was read, for a running hash.
        read_bytes: Most bytes to read at once.

    Returns:
        Triples of line number (from 1; blank lines count but are not handed
        out), offset of the line's first byte, and the line without its line
        break (CR LF is tolerated) and without a byte order mark before it, or
        Oversized. A last line without a line break is a line.

    Raises:
        OSError: The file cannot be read on; lines handed out before are complete.
    """
    return lines_of(
        lambda n: os.read(fd, n), max_line_bytes, on_bytes=on_bytes, read_bytes=read_bytes
    )


def lines_of(
    read: Callable[[int], bytes],
    max_line_bytes: int,
    *,
    on_bytes: Callable[[bytes], object] | None = None,
    read_bytes: int = READ_BYTES,
) -> Iterator[tuple[int, int, bytes | Oversized]]:
    """
    Yield the lines of whatever *read* reads, as iter_lines does.

    Args:
        read: Returns at most so many bytes, none at the end.
        max_line_bytes, on_bytes, read_bytes: As iter_lines.
    """
    number, offset = 1, 0
    parts: list[bytes] = []  # the start of a line that is not complete yet
    held = 0  # its length so far, which may be more than is in parts
    while True:
        chunk = read(read_bytes)
        if on_bytes is not None and chunk:
            on_bytes(chunk)
        *complete, tail = chunk.split(b"\n") if chunk else (b"", b"")
        if not chunk and not held:
            return
        for piece in complete:
            n_bytes = held + len(piece)
            if n_bytes <= max_line_bytes + 1:  # the one more may be a CR
                line = b"".join((*parts, piece)) if parts else piece
                if line.endswith(b"\r"):
                    line = line[:-1]
                if len(line) > max_line_bytes:
                    yield number, offset, Oversized(n_bytes, line[:800])
                else:
                    begins = offset
                    if line.startswith(BOM):  # also where files were joined by cat
                        line, begins = line[len(BOM) :], offset + len(BOM)
                    if line and not line.isspace():
                        yield number, begins, line
            else:
                yield number, offset, Oversized(n_bytes, b"".join((*parts, piece))[:800])
            if parts:
                parts = []
            held = 0
            offset += n_bytes + 1
            number += 1
        if not chunk:
            return
        held += len(tail)
        if held <= max_line_bytes + 1:
            if tail:
                parts.append(tail)
        else:
            # Too long already: keep the beginning for the report, drop the rest.
            parts = [b"".join((*parts, tail))[:800]]
