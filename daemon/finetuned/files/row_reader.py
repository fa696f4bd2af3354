"""
From database rows to the classes of files/rows.py, checked column by column.

The columns of a table are the fields of its class, no more and no fewer, and
each value has the type of its field: what passes here needs no check later.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from finetuned.errors import CorruptRow
from finetuned.files.rows import Row

R = TypeVar("R", bound=Row)
W = TypeVar("W", bound=StrEnum)

Convert = Callable[[object], Any]


def read_rows(cls: type[R], cursor: sqlite3.Cursor, journal: Path) -> Iterator[R]:
    """
    Yield the rows of *cursor* as values of *cls*.

    Args:
        cls: One of files/rows.py.
        cursor: Of a query for every column of the table of *cls*, in any order.
        journal: The file, named in errors.

    Raises:
        CorruptRow: A column is missing or unknown, or a value is not of its field's type.
    """
    converters = _CONVERTERS[cls]
    columns = [str(column[0]) for column in cursor.description]
    if sorted(columns) != sorted(converters):
        unknown = sorted(set(columns) - set(converters))
        missing = sorted(set(converters) - set(columns))
        raise CorruptRow(
            journal, cls.table, "any", f"unknown columns {unknown}, missing columns {missing}"
        )
    steps = [(name, converters[name]) for name in columns]
    for row in cursor:
        try:
            values: dict[str, Any] = {
                name: convert(value) for (name, convert), value in zip(steps, row, strict=True)
            }
        except ValueError:
            raise CorruptRow(journal, cls.table, str(row[0]), _problem(steps, row)) from None
        yield cls(**values)


def read_word(cls: type[W], value: object, *, journal: Path, table: str, row: str) -> W:
    """
    Return the member of *cls* that *value*, from one row of *table*, spells.

    Raises:
        CorruptRow: It spells none.
    """
    try:
        return cls(str(value))
    except ValueError:
        known = ", ".join(cls)
        raise CorruptRow(journal, table, row, f"{value!r} is not one of {known}") from None


def _problem(steps: list[tuple[str, Convert]], row: sqlite3.Row) -> str:
    """Return which column of *row* is wrong, and what was expected."""
    for (name, convert), value in zip(steps, row, strict=True):
        try:
            convert(value)
        except ValueError as error:
            return f"column {name} is {value!r}, expected {error}"
    raise AssertionError("no column is wrong")


def _converter(hint: Any) -> Convert:
    """
    Return a function that returns its argument as a *hint*, or raises ValueError.

    The error's text says what was expected.
    """
    optional = isinstance(hint, UnionType) and NoneType in get_args(hint)
    kind = next(t for t in get_args(hint) if t is not NoneType) if optional else hint
    convert = _of_words(kind) if issubclass(kind, StrEnum) else _of_values(kind)

    def convert_optional(value: object) -> object:
        return None if value is None else convert(value)

    return convert_optional if optional else convert


def _of_words(kind: type[StrEnum]) -> Convert:
    members: dict[object, StrEnum] = {str(member): member for member in kind}

    def convert(value: object) -> StrEnum:
        if (member := members.get(value)) is None:
            raise ValueError(f"one of {', '.join(str(word) for word in members)}")
        return member

    return convert


def _of_values(kind: type) -> Convert:
    if kind is bool:

        def convert_bool(value: object) -> bool:
            if type(value) is not int or value not in (0, 1):
                raise ValueError("0 or 1")
            return bool(value)

        return convert_bool

    def convert(value: object) -> object:
        if type(value) is not kind:
            raise ValueError(f"a value of type {kind.__name__}")
        return value

    return convert


def _converters(cls: type[Row]) -> dict[str, Convert]:
    """Return, by column, the function that checks a value and turns it into the field's."""
    hints = get_type_hints(cls)
    return {field.name: _converter(hints[field.name]) for field in fields(cls)}


_CONVERTERS: dict[type, dict[str, Convert]] = {cls: _converters(cls) for cls in get_args(Row)}
