"""
A table of text (CSV, TSV, with semicolons or bars), read as rows.

Cells stay text: 007 is no number. Only columns whose meaning is known are read as what they
must be: messages and the like as JSON, marks of what is trained as true, false or a number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import IO, Final

import orjson

from finetuned.data.file_shape import Table, table_of
from finetuned.data.formats.keys import MARKS
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample
from finetuned.sources.conversion.row import CannotConvert, RefusedRow, Row

ENOUGH: Final = (
    ("messages",),
    ("conversations",),
    ("prompt", "completion"),
    ("instruction", "output"),
    ("input", "output"),
    ("text",),
)
"""Columns of which a table must have one group to hold rows."""

JSON_COLUMNS: Final = frozenset(("messages", "conversations", "tools", "functions", "history"))
"""Their cells must be JSON text; an empty cell is left out."""

MARK_COLUMNS: Final = frozenset((*MARKS, "label", "kto_tag"))
"""Their cells say what is trained: true, false and numbers are read as such."""

_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,15})(\.\d{1,15})?")
_KNOWN: Final = frozenset(name for group in ENOUGH for name in group) | JSON_COLUMNS | MARK_COLUMNS


def rows_of(text: IO[str], *, max_bytes: int) -> Iterator[Row | RefusedRow]:
    """
    Yield the rows of a table.

    Args:
        text: The table from its first line, with its line ends as they are.
        max_bytes: Longest line and longest cell, in characters.

    Raises:
        CannotConvert: The columns make no row, or a quote is not closed.
    """
    before = csv.field_size_limit(max_bytes)
    try:
        yield from _rows(text, max_bytes)
    except csv.Error as error:
        raise CannotConvert(f"the table cannot be read: {error}") from error
    finally:
        csv.field_size_limit(before)


def _rows(text: IO[str], max_bytes: int) -> Iterator[Row | RefusedRow]:
    lines = _lines(text, max_bytes)
    first, blank = next(lines, ""), 0
    while first and not first.strip():
        first, blank = next(lines, ""), blank + 1
    table = table_of(first)
    if table is None:
        raise CannotConvert("its first line must name the columns")
    columns = _checked(table)
    reader = csv.reader(lines, delimiter=table.delimiter, strict=True)
    line = blank + 1
    while True:
        begins = line + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CannotConvert(
                f"line {begins}: the row that begins here cannot be read: {error}"
            ) from error
        if any(cell.strip() for cell in cells):
            yield _row(begins, columns, cells)


def _lines(text: IO[str], longest: int) -> Iterator[str]:
    """Yield the lines of a table; one that is too long to be held ends it."""
    number = 0
    while line := text.readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise CannotConvert(f"line {number} has more than {longest} characters")
        yield line


def _checked(table: Table) -> tuple[str, ...]:
    """Return the keys of the columns, known names in their own spelling."""
    columns = tuple(c.lower() if c.lower() in _KNOWN else c for c in table.columns)
    named = ", ".join(columns)
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice or "" in columns:
        what = f"names {twice[0]!r} twice" if any(twice) else "has a column without a name"
        raise CannotConvert(f"line 1 {what} (columns: {named}); give each column its own name")
    if not any(set(group) <= set(columns) for group in ENOUGH):
        groups = "; or ".join(" and ".join(group) for group in ENOUGH)
        raise CannotConvert(
            f"its columns are {named}, which make no row; rename them in the first line: a row "
            f"needs {groups}"
        )
    return columns


def _row(line: int, columns: tuple[str, ...], cells: list[str]) -> Row | RefusedRow:
    if len(cells) != len(columns):
        return RefusedRow(
            line,
            f"it has {len(cells)} cells and the first line names {len(columns)} columns; "
            "a cell with the delimiter in it needs quotes",
        )
    row: dict[str, object] = {}
    for column, cell in zip(columns, cells, strict=True):
        if column in JSON_COLUMNS:
            if not cell.strip():
                continue
            try:
                row[column] = parse_line(cell.encode())
            except MalformedExample as error:
                return RefusedRow(
                    line, f"column {column} is not JSON ({error.reason}); write it with json.dumps"
                )
        else:
            row[column] = _mark(cell) if column in MARK_COLUMNS else cell
    return Row(line, orjson.dumps(row))


def _mark(cell: str) -> object:
    """Return what a cell that marks a row says: true, false, a number, or else its text."""
    word = cell.strip().lower()
    if word in ("true", "false"):
        return word == "true"
    return orjson.loads(word) if _NUMBER.fullmatch(word) else cell
