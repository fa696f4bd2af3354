"""
Exports of the table ``ai_decisions``: a dump of PostgreSQL, CSV or JSON, also compressed.

Knows files; what a row of the table becomes is decisions.py.
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Final

from finetuned.data.file_shape import FileShape
from finetuned.errors import CannotImport
from finetuned.files.sql_dump import BEGINS, ENDS, Seen, rows_of
from finetuned.sources.conversion.text import Text, open_text, telling_damage
from finetuned.sources.imports.decisions import found_in, missing_columns
from finetuned.sources.imports.found import Found, Place, Refusal, Source
from finetuned.sources.imports.json_values import objects_of

_SQL: Final = re.compile(
    rb"\s*(?:--|/\*|\\(?:un)?restrict|(?:COPY|INSERT\s+INTO|SET|CREATE|BEGIN|SELECT|DROP)\b)", re.I
)
_HEAD_BYTES: Final = 1 << 16
_TAIL_BYTES: Final = 1 << 12
_JSON: Final = (FileShape.ARRAY, FileShape.OBJECTS, FileShape.LINES, FileShape.RETURNS)
_EXPECTED: Final = "expected a plain dump of PostgreSQL, CSV with named columns, or JSON"


def read(source: Source) -> Iterator[Found]:
    """
    Yield what becomes of each row of an export.

    Raises:
        CannotImport: It is no such export, it breaks off, or the table is not in it.
        CannotConvert: Its compression or its JSON is damaged.
    """
    _refuse_archive(source.path, source.table)
    with (
        source.path.open("rb") as raw,
        telling_damage(),
        closing(open_text(raw)) as text,
    ):
        head = _head(text)
        kind = _kind(text, head, source.path)
        if kind == "dump" and not text.wrapped:
            _refuse_cut(source.path, head)
        readers = {"dump": _from_dump, "json": _from_json, "csv": _from_csv}
        for n, found in enumerate(readers[kind](text, source), start=1):
            if n % 256 == 0:
                source.on_progress(raw.tell())
            yield found


def _head(text: Text) -> bytes:
    head = text.stream.read(_HEAD_BYTES)
    text.stream.seek(0)
    return head


def _refuse_archive(path: Path, table: str) -> None:
    """Refuse the forms of a dump that only pg_restore reads."""
    form = ""
    if path.is_dir():
        if not (path / "toc.dat").is_file():
            raise CannotImport(f"{path} is a folder; {_EXPECTED}")
        form = "directory"
    else:
        with path.open("rb") as f:
            head = f.read(512)
        if head.startswith(b"PGDMP"):
            form = "custom"
        elif head[257:262] == b"ustar" and head.startswith(b"toc.dat"):
            form = "tar"
    if form:
        new = f"{path.name.split('.')[0]}.sql"
        raise CannotImport(
            f"it is a dump of PostgreSQL in the {form} format, which only pg_restore reads; make a "
            f"plain one: pg_restore --data-only --table={shlex.quote(table)} "
            f"--file={shlex.quote(new)} {shlex.quote(str(path))}"
        )


def _refuse_cut(path: Path, head: bytes) -> None:
    """Refuse a dump of pg_dump without its last line, before all of it is read."""
    if BEGINS.encode() not in head:
        return
    with path.open("rb") as f:
        f.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        if ENDS.encode() not in f.read():
            raise CannotImport(
                f"the dump breaks off: it begins with {BEGINS!r} and does not end with {ENDS!r}; "
                "dump it again, and look at the exit status of pg_dump"
            )


def _kind(text: Text, head: bytes, path: Path) -> str:
    if not head.strip():
        raise CannotImport(f"the file is empty; {_EXPECTED}")
    plain = head.decode("utf-16", "replace").encode() if FileShape.UTF16 in text.wrapped else head
    if _SQL.match(plain.removeprefix(b"\xef\xbb\xbf")):
        return "dump"
    if text.shape in _JSON and plain.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")[:1] in (b"{", b"["):
        return "json"
    first = plain.partition(b"\n")[0]
    if b"query" in first or b"input" in first:
        return "csv"
    raise CannotImport(f"{path.name} is {text.shape}; {_EXPECTED}")


def _from_dump(text: Text, source: Source) -> Iterator[Found]:
    seen = Seen({})
    checked = False
    for row in rows_of(text.read, source.table, max_bytes=source.max_bytes, seen=seen):
        place = Place(source.path.name, row.line)
        if row.wrong is not None:
            yield Refusal(place, "bad_row", row.wrong)
            continue
        if not checked:
            _check_columns(frozenset(row.values))
            checked = True
        yield found_in(row.values, place)
    if source.table not in seen.tables:
        others = ", ".join(sorted(seen.tables)) or "none"
        raise CannotImport(
            f"the dump has no rows of the table {source.table} (tables with rows: {others}); if "
            "it has another name, or its rows are in partitions, name it: --table NAME"
        )


def _check_columns(names: frozenset[str]) -> None:
    if (missing := missing_columns(names)) is not None:
        raise CannotImport(
            f"its columns are {', '.join(sorted(names))}; expected {missing}, as the table "
            "ai_decisions has them"
        )


def _from_json(text: Text, source: Source) -> Iterator[Found]:
    for place, value, wrong in objects_of(text, source.path.name, source.max_bytes):
        if value is None:
            yield Refusal(place, "bad_row", wrong)
        elif (missing := missing_columns(frozenset(value))) is not None:
            keys = ", ".join(sorted(value)[:20])
            yield Refusal(place, "not_a_decision", f"its keys are {keys}; expected {missing}")
        else:
            yield found_in(value, place)


def _from_csv(text: Text, source: Source) -> Iterator[Found]:
    before = csv.field_size_limit(source.max_bytes)
    try:
        yield from _csv_rows(text.characters, source)
    except csv.Error as error:
        raise CannotImport(f"the table cannot be read: {error}") from None
    finally:
        csv.field_size_limit(before)


def _csv_rows(characters: IO[str], source: Source) -> Iterator[Found]:
    first = characters.readline()
    delimiter = max(",\t;|", key=first.count)
    columns = tuple(c.strip().lower() for c in next(csv.reader([first], delimiter=delimiter)))
    _check_columns(frozenset(columns))
    if len(set(columns)) < len(columns):
        raise CannotImport(f"the first line names a column twice: {', '.join(columns)}")
    last = [first]
    reader = csv.reader(_kept(characters, last), delimiter=delimiter, strict=True)
    short: Refusal | None = None
    while True:
        place = Place(source.path.name, reader.line_num + 2)
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise CannotImport(
                f"line {place.line}: the row that begins here cannot be read ({error}); the file "
                "breaks off, or a quote is missing"
            ) from None
        if short is not None:
            yield short
            short = None
        if not cells:
            continue
        if len(cells) != len(columns):
            detail = f"it has {len(cells)} cells, and the first line names {len(columns)} columns"
            short = Refusal(place, "bad_row", detail)
            continue
        record = {
            c: v if v not in ("", "\\N") else None for c, v in zip(columns, cells, strict=True)
        }
        yield found_in(record, place)
    if short is not None:
        if not last[0].endswith(("\n", "\r")):
            raise CannotImport(
                f"line {short.place.line}: the file breaks off in its last row ({short.detail}); "
                "export it again"
            )
        yield short


def _kept(characters: IO[str], last: list[str]) -> Iterator[str]:
    """Yield lines, the last one kept in *last*."""
    for line in characters:
        last[0] = line
        yield line
