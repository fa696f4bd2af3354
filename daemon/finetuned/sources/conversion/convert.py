"""
One file of another shape, written beside as JSON lines.

The new file appears whole or not at all, never in the place of another, and the original is
only read. What cannot become a row is refused with its line; what cannot be read to its end
is not converted, because nobody could tell how much of it is missing.

Knows shapes and files; whether a row can be trained is for ``finetuned check`` to say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from finetuned.data.file_shape import CONVERTIBLE, FileShape, way_out
from finetuned.data.strict_json import lines_of
from finetuned.files.new_file import NewFile
from finetuned.sources.conversion import parquet, table
from finetuned.sources.conversion.json_text import Read, values_of
from finetuned.sources.conversion.row import CannotConvert, RefusedRow, Row, row_of
from finetuned.sources.conversion.text import Text, open_text, telling_damage

MAX_LISTED: Final = 1000
"""Refused rows that are listed one by one; more are only counted."""

_ROWS_PER_LOOK: Final = 256


@dataclass(slots=True)
class Conversion:
    """
    What became of one file.
    """

    source: Path
    shape: FileShape
    """Of the text in it."""
    wrapped: tuple[FileShape, ...]
    """In what it was; as Text.wrapped."""
    target: Path | None = None
    """The new file; None if no row could be written, so that there is none."""
    rows_in: int = 0
    rows_out: int = 0
    refused: list[RefusedRow] = field(default_factory=list)
    """The first MAX_LISTED rows that are not in the new file."""

    @property
    def rows_refused(self) -> int:
        """Rows that are not in the new file."""
        return self.rows_in - self.rows_out


def convert(
    source: Path,
    target: Path,
    *,
    max_bytes: int,
    on_progress: Callable[[int], object] | None = None,
) -> Conversion:
    """
    Write the rows of *source* to *target* as JSON lines.

    Args:
        source: Any regular file.
        target: Must not exist; its folder must.
        max_bytes: Longest row, in bytes.
        on_progress: Is given how many bytes of *source* are read, every few hundred rows.

    Raises:
        CannotConvert: It is of no shape that is converted, or damaged; nothing was written.
        FileExistsError: *target* exists; it was not touched.
        OSError: The file system refused; nothing was written.
    """
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already and is not overwritten; name another file")
    with source.open("rb") as raw, telling_damage(), closing(open_text(raw)) as text:
        result = Conversion(source, text.shape, text.wrapped)
        rows = _rows(text, max_bytes)
        with NewFile(target.parent) as new:
            _write(rows, new.file, result, lambda: on_progress and on_progress(raw.tell()))
            if result.rows_out:
                new.publish(target.name)
                result.target = target
    return result


def _write(
    rows: Iterator[Row | RefusedRow],
    out: IO[bytes],
    result: Conversion,
    look: Callable[[], object],
) -> None:
    for row in rows:
        result.rows_in += 1
        if isinstance(row, Row):
            out.write(row.text + b"\n")
            result.rows_out += 1
        elif len(result.refused) < MAX_LISTED:
            result.refused.append(row)
        if result.rows_in % _ROWS_PER_LOOK == 0:
            look()


def _rows(text: Text, max_bytes: int) -> Iterator[Row | RefusedRow]:
    """
    Return the rows of a text of any shape that is converted.

    Raises:
        CannotConvert: There is no way.
    """
    if text.shape is FileShape.TABLE:
        return table.rows_of(text.characters, max_bytes=max_bytes)
    if text.shape is FileShape.PARQUET:
        return parquet.rows_of(text.stream)
    if text.shape in (FileShape.ARRAY, FileShape.OBJECTS):
        values = values_of(text.read, in_array=text.shape is FileShape.ARRAY, max_bytes=max_bytes)
        return (row_of(place, value, max_bytes=max_bytes) for place, value in values)
    if text.shape in (FileShape.LINES, FileShape.RETURNS):
        read = text.read if text.shape is FileShape.LINES else _with_newlines(text.read)
        lines = lines_of(read, max_bytes)
        return (row_of(place, line, max_bytes=max_bytes) for place, _, line in lines)
    advice = "it is packed too often" if text.shape in CONVERTIBLE else way_out(text.shape, "")
    raise CannotConvert(f"it is {text.shape}, which is not converted; {advice}")


def _with_newlines(read: Read) -> Read:
    """Return *read* with the line ends of old Macs replaced."""
    return lambda n: read(n).replace(b"\r", b"\n")
