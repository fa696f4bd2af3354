"""
Names, lists and values in SQL text: what a COPY line, an INSERT and a CREATE TABLE hold. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_ESCAPE: Final = re.compile(rb"\\(?:x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_CONTROL: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_STRING_ESCAPE: Final = re.compile(
    r"\\(?:x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|.)|''", re.DOTALL
)
_TOKENS: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    |(?P<string>'(?:[^']|'')*')
    |(?P<name>"(?:[^"]|"")*"|[A-Za-z_][\w$]*)
    |(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<cast>::)
    |(?P<sign>[(),;.\[\]])""",
    re.VERBOSE | re.DOTALL,
)


class BadStatement(ValueError):
    """
    Text that is no list of values as pg_dump writes them.
    """


def table_name(text: str) -> str:
    """
    Return the name of a table without its schema: as written in quotes, else in small letters.
    """
    parts = re.findall(r'"(?:[^"]|"")*"|[^."]+', text)
    return _name(parts[-1]) if parts else ""


def _name(text: str) -> str:
    text = text.strip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text[1:-1].replace('""', '"')
    return text.casefold()


def names_of(text: str) -> tuple[str, ...]:
    """
    Return the names of a list such as ``id, "timestamp", query``.
    """
    return tuple(_name(part) for part in re.findall(r'\s*("(?:[^"]|"")*"|[^,"]+)\s*', text))


def created_columns(text: str) -> tuple[str, ...]:
    """
    Return the columns of a table in their order.

    Args:
        text: A CREATE TABLE from behind its opening parenthesis.
    """
    names, depth, begins = [], 0, True
    for match in re.finditer(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][\w$]*|[(),]""", text):
        word = match[0]
        if word == "(":
            depth += 1
        elif word == ")":
            if depth == 0:
                break
            depth -= 1
        elif word == "," and depth == 0:
            begins = True
            continue
        elif begins and depth == 0 and word.casefold() not in _CONSTRAINTS:
            names.append(_name(word))
        begins = False
    return tuple(names)


_CONSTRAINTS: Final = frozenset(
    ("constraint", "primary", "unique", "foreign", "check", "exclude", "like")
)


def copy_fields(line: bytes) -> list[str | None]:
    r"""
    Return the values of one line of COPY in its text format; None is NULL (``\N``).

    Args:
        line: Without its line feed.

    Raises:
        UnicodeDecodeError: A value is not UTF-8.
    """
    return [
        None if field == rb"\N" else _ESCAPE.sub(_unescaped, field).decode("utf-8")
        for field in line.split(b"\t")
    ]


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[0][1:]
    if code in _CONTROL:
        return _CONTROL[code]
    if code[:1] == b"x" and len(code) > 1:
        return bytes((int(code[1:], 16),))
    if code[:1].isdigit() and code[:1] < b"8":
        return bytes((int(code, 8) & 0xFF,))
    return code


def inserted_rows(
    text: str, columns: tuple[str, ...] | None
) -> Iterator[tuple[dict[str, str | None], str | None]]:
    """
    Yield the rows of an INSERT, each with what is wrong with it (None if nothing).

    Args:
        text: The statement from behind the name of its table.
        columns: Of the table, if the statement does not name them.

    Raises:
        BadStatement: It is no list of values; rows before were right.
    """
    tokens = _tokens(text)
    kind, word = next(tokens)
    if (kind, word) == ("sign", "("):
        columns, (kind, word) = _listed(tokens), next(tokens)
    while kind == "name" and word.casefold() in ("overriding", "system", "user", "value"):
        kind, word = next(tokens)
    if kind != "name" or word.casefold() != "values":
        raise BadStatement(f"found {word[:40]!r}, expected VALUES")
    if columns is None:
        raise BadStatement(
            "it names no columns and the table is not created before; dump with --column-inserts"
        )
    while True:
        _expect(next(tokens), "(")
        values = _row(tokens)
        if len(values) == len(columns):
            yield dict(zip(columns, values, strict=True)), None
        else:
            yield {}, f"it has {len(values)} values for {len(columns)} columns"
        kind, word = next(tokens)
        if (kind, word) != ("sign", ","):
            return  # ; or ON CONFLICT ... or RETURNING ...


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            raise BadStatement(f"found {text[at : at + 20]!r}, expected a value")
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match[0]
    yield "end", ""
    raise BadStatement("it ends too early")


def _listed(tokens: Iterator[tuple[str, str]]) -> tuple[str, ...]:
    names = []
    while True:
        kind, word = next(tokens)
        if kind != "name":
            raise BadStatement(f"found {word[:40]!r}, expected the name of a column")
        names.append(_name(word))
        if (sign := next(tokens)) == ("sign", ")"):
            return tuple(names)
        _expect(sign, ",")


def _expect(found: tuple[str, str], sign: str) -> None:
    if found != ("sign", sign):
        raise BadStatement(f"found {found[1][:40]!r}, expected {sign}")


def _row(tokens: Iterator[tuple[str, str]]) -> list[str | None]:
    """Return the values up to the closing parenthesis."""
    values: list[str | None] = []
    while True:
        kind, word = next(tokens)
        values.append(_value(kind, word))
        kind, word = next(tokens)
        while kind == "cast":
            kind, word = _behind_type(tokens)
        if (kind, word) == ("sign", ")"):
            return values
        _expect((kind, word), ",")


def _behind_type(tokens: Iterator[tuple[str, str]]) -> tuple[str, str]:
    """Skip the type of a cast, such as ``timestamp(3) with time zone`` or ``text[]``."""
    depth = 0
    while True:
        kind, word = next(tokens)
        if kind in ("end", "string", "escaped") or (depth == 0 and word in (",", ")", "::")):
            return kind, word
        depth += (word in ("(", "[")) - (word in (")", "]"))


def _value(kind: str, word: str) -> str | None:
    if kind == "string":
        return word[1:-1].replace("''", "'")
    if kind == "escaped":
        return _STRING_ESCAPE.sub(_character, word[2:-1])
    if kind == "number":
        return word
    if kind == "name" and (small := word.casefold()) in ("null", "true", "false", "default"):
        return None if small in ("null", "default") else small
    raise BadStatement(f"found {word[:40]!r}, expected a value")


def _character(match: re.Match[str]) -> str:
    code = match[0][1:]
    if match[0] == "''":
        return "'"
    if code.encode("utf-8", "replace") in _CONTROL:
        return _CONTROL[code.encode()].decode()
    if code[0] in "xuU" and len(code) > 1:
        return _chr(int(code[1:], 16))
    return _chr(int(code, 8)) if code[0] in "01234567" else code


def _chr(number: int) -> str:
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise BadStatement(f"found the character number {number}, which is none")
    return chr(number)
