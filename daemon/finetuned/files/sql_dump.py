"""
A plain-text dump of PostgreSQL, read as the rows of one table.

Read are COPY ... FROM stdin and INSERT INTO ... VALUES, as pg_dump writes them, and the same by
hand. Nothing is carried out. The dump is read as a stream: what is held is one line of COPY, or
one statement. A dump that breaks off is told by its end: a COPY without ``\\.``, a statement
without ``;``, or the first line of pg_dump without its last one.

Knows SQL text; does not know what the columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from finetuned.errors import CannotImport
from finetuned.files.sql_values import (
    BadStatement,
    copy_fields,
    created_columns,
    inserted_rows,
    names_of,
    table_name,
)

_READ_BYTES: Final = 1 << 20
MAX_STATEMENT_BYTES: Final = 64 * 2**20
"""Longest INSERT that is read."""

BEGINS: Final = "-- PostgreSQL database dump"
ENDS: Final = "-- PostgreSQL database dump complete"

_COPY: Final = re.compile(
    r"COPY\s+(?P<table>\S+?)\s*(?:\((?P<columns>.*?)\))?\s+FROM\s+STDIN\b\s*(?P<options>.*?);\s*",
    re.IGNORECASE | re.DOTALL,
)
_INSERT: Final = re.compile(r"INSERT\s+INTO\s+(?:ONLY\s+)?(?P<table>[^\s(]+)\s*", re.IGNORECASE)
_CREATE: Final = re.compile(
    r"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?P<table>[^\s(]+)\s*\(",
    re.IGNORECASE,
)
_ENCODING: Final = re.compile(r"SET\s+client_encoding\s*(?:=|TO)\s*'?([\w-]+)'?", re.IGNORECASE)
_UTF8: Final = frozenset(("utf8", "utf-8", "unicode", "sql_ascii"))
_OLD_STRINGS: Final = re.compile(
    r"SET\s+standard_conforming_strings\s*(?:=|TO)\s*'?(?:off|false|0)", re.IGNORECASE
)
_TOKEN: Final = re.compile(
    r"--|/\*|(?<![A-Za-z0-9_])[eE]'|'|\"|(?<![A-Za-z0-9_$])\$(?:[A-Za-z_]\w*)?\$|;"
)
_END_OF: Final = {
    "'": re.compile(r"'"),
    '"': re.compile(r'"'),
    "e'": re.compile(r"\\.|''|'", re.DOTALL),
    "/*": re.compile(r"/\*|\*/"),
}


@dataclass(frozen=True, slots=True)
class DumpedRow:
    """
    One row of the table, or why it cannot be read.
    """

    line: int
    """On which it, or the statement that it is in, begins."""
    values: dict[str, str | None]
    """By column, None is NULL. Empty if the row cannot be read."""
    wrong: str | None = None


@dataclass(slots=True)
class Seen:
    """
    Which tables of a dump have rows.
    """

    tables: dict[str, None]


def rows_of(
    read: Callable[[int], bytes], table: str, *, max_bytes: int, seen: Seen | None = None
) -> Iterator[DumpedRow]:
    """
    Yield the rows of *table*, whatever its schema is called.

    Args:
        read: Returns at most so many bytes, none at the end.
        table: Its name without schema and quotes.
        max_bytes: Longest line of COPY.
        seen: Is told the names of all tables that have rows.

    Raises:
        CannotImport: The dump breaks off, has another encoding than UTF-8, or has a statement
            about the table that is not read. Rows that were yielded before are right.
    """
    found = Seen({}) if seen is None else seen
    lines = _Lines(read, max_bytes)
    columns: tuple[str, ...] | None = None
    while (statement := _statement(lines)) is not None:
        line, text = statement
        lines.about(text, line)
        if (match := _COPY.fullmatch(text.strip())) is not None:
            name = table_name(match["table"])
            found.tables[name] = None
            mine = name == table
            named = match["columns"]
            if mine:
                _check_options(match["options"], line)
                columns = names_of(named) if named else columns
            yield from _copied(lines, columns if mine else None, line, wanted=mine)
        elif (match := _INSERT.match(text.lstrip())) is not None:
            name = table_name(match["table"])
            found.tables[name] = None
            if name == table:
                yield from _inserted(text.lstrip()[match.end() :], columns, line)
        elif (match := _CREATE.match(text.lstrip())) and table_name(match["table"]) == table:
            columns = created_columns(text.lstrip()[match.end() :])
    if lines.is_dump and not lines.is_complete:
        raise CannotImport(
            f"the dump breaks off: it begins with {BEGINS!r} and has no line {ENDS!r} (line "
            f"{lines.number} is its last); dump it again, and look at the exit status of pg_dump"
        )


def _check_options(options: str, line: int) -> None:
    if re.search(r"\b(?:csv|binary|delimiter|null|header)\b", options, re.IGNORECASE):
        raise CannotImport(
            f"line {line}: COPY with {options.strip()!r} is not read; dump the table with "
            "pg_dump, or export it as CSV with its names in the first line"
        )


class _Lines:
    """The lines of a dump, as text without their line feed."""

    def __init__(self, read: Callable[[int], bytes], max_bytes: int) -> None:
        self._read, self.max_bytes = read, max_bytes
        self._pieces = self._split()
        self.number = 0
        """Of the line that was taken last."""
        self.behind = ""
        """What stands behind the last statement on its line."""
        self.is_dump = self.is_complete = False

    def _split(self) -> Iterator[bytes]:
        rest = b""
        while piece := self._read(_READ_BYTES):
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
            if len(rest) > MAX_STATEMENT_BYTES:
                raise CannotImport(
                    f"line {self.number + 1} has more than {MAX_STATEMENT_BYTES} bytes; dump with "
                    "fewer --rows-per-insert"
                )
        if rest:
            yield rest

    def take(self) -> bytes | None:
        """Return the next line, None at the end."""
        line = next(self._pieces, None)
        if line is None:
            return None
        self.number += 1
        return line

    def next_text(self) -> str | None:
        """Return the next line of a statement, or what stands behind the last one on its line."""
        if self.behind.strip():
            text, self.behind = self.behind, ""
            return text
        if (line := self.take()) is None:
            return None
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CannotImport(
                f"line {self.number} is not UTF-8 ({error.reason}); dump with --encoding=UTF8"
            ) from None
        self.is_dump = self.is_dump or text.startswith(BEGINS)
        self.is_complete = self.is_complete or text.startswith(ENDS)
        return text

    def about(self, statement: str, line: int) -> None:
        """Refuse a dump in another encoding, or whose strings are written in the old way."""
        match = _ENCODING.match(statement.strip())
        if match is not None and match[1].casefold() not in _UTF8:
            raise CannotImport(f"line {line}: the dump is in {match[1]}; dump with --encoding=UTF8")
        if _OLD_STRINGS.match(statement.strip()):
            raise CannotImport(
                f"line {line}: the dump is made with standard_conforming_strings off; dump with "
                "PGOPTIONS='-c standard_conforming_strings=on'"
            )


def _statement(lines: _Lines) -> tuple[int, str] | None:
    """
    Return the next statement without its comments, with the line on which it begins.

    None at the end.
    """
    parts: list[str] = []
    line = size = depth = 0
    mode = ""
    while (text := lines.next_text()) is not None:
        if not parts and not mode and text.startswith("\\"):
            continue  # an order to psql
        code, mode, depth, behind = _scan(text, mode, depth)
        if not parts and code.strip():
            line = lines.number
        if parts or code.strip():
            parts.append(code)
            size += len(code)
        if size > MAX_STATEMENT_BYTES:
            raise CannotImport(
                f"the statement of line {line} has more than {MAX_STATEMENT_BYTES} characters; "
                "dump with fewer --rows-per-insert"
            )
        if behind is not None:
            lines.behind = behind
            return line, "\n".join(parts)
    if parts or mode:
        inside = f" (inside {mode})" if mode else ""
        raise CannotImport(
            f"the dump breaks off: the statement that begins on line {line or lines.number} has "
            f"no end{inside}; dump it again, and look at the exit status of pg_dump"
        )
    return None


def _scan(text: str, mode: str, depth: int) -> tuple[str, str, int, str | None]:
    """
    Read one line of a statement.

    Args:
        text: The line.
        mode: What is open before it: a quote, ``/*``, a dollar tag, or "".
        depth: How many comments are open.

    Returns:
        The line without comments, what is open behind it, how many comments, and what stands
        behind the semicolon that ended the statement (None if none did).
    """
    code: list[str] = []
    at = 0
    while True:
        if mode == "":
            match = _TOKEN.search(text, at)
            if match is None or match[0] == "--":
                code.append(text[at:] if match is None else text[at : match.start()])
                return "".join(code), "", 0, None
            word, comment = match[0], match[0] == "/*"
            code.append(text[at : match.start()] + (" " if comment else word))
            at = match.end()
            if word == ";":
                return "".join(code), "", 0, text[at:]
            mode, depth = word if word.startswith("$") else word.lower(), int(comment)
            continue
        closing = _END_OF.get(mode) or re.compile(re.escape(mode))
        match = closing.search(text, at)
        end = len(text) if match is None else match.end()
        if mode != "/*":
            code.append(text[at:end])
        if match is None:
            return "".join(code), mode, depth, None
        at = end
        if mode == "/*":
            depth += 1 if match[0] == "/*" else -1
            mode = mode if depth else ""
        elif match[0] == mode[-1] or mode.startswith("$"):
            mode = ""  # of a quote that is doubled, the second opens again


def _copied(
    lines: _Lines, columns: tuple[str, ...] | None, begins: int, *, wanted: bool
) -> Iterator[DumpedRow]:
    if wanted and columns is None:
        raise CannotImport(
            f"line {begins}: COPY names no columns and the table is not created before; dump the "
            "table with pg_dump, which names them"
        )
    while (raw := lines.take()) is not None:
        raw = raw.removesuffix(b"\r")  # of a dump that was changed to CR LF: COPY escapes its own
        if raw == b"\\.":
            return
        if wanted and columns is not None:
            yield _copied_row(raw, columns, lines)
    raise CannotImport(
        f"the dump breaks off: the rows of COPY on line {begins} have no end (a line \\.), and "
        f"line {lines.number} is the last; dump it again, and look at the exit status of pg_dump"
    )


def _copied_row(raw: bytes, columns: tuple[str, ...], lines: _Lines) -> DumpedRow:
    if len(raw) > lines.max_bytes:
        return DumpedRow(
            lines.number, {}, f"it has {len(raw)} bytes, at most {lines.max_bytes} are allowed"
        )
    try:
        fields = copy_fields(raw)
    except UnicodeDecodeError as error:
        return DumpedRow(lines.number, {}, f"it is not UTF-8 ({error.reason})")
    if len(fields) != len(columns):
        wrong = f"it has {len(fields)} values, and COPY names {len(columns)} columns"
        return DumpedRow(lines.number, {}, wrong)
    return DumpedRow(lines.number, dict(zip(columns, fields, strict=True)))


def _inserted(text: str, columns: tuple[str, ...] | None, line: int) -> Iterator[DumpedRow]:
    try:
        yield from (
            DumpedRow(line, values, wrong) for values, wrong in inserted_rows(text, columns)
        )
    except BadStatement as error:
        raise CannotImport(f"line {line}: this INSERT cannot be read: {error}") from None
