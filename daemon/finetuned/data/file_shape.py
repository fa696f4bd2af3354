"""
What a file is that somebody calls JSON lines, told from its first bytes.

Real exports are also one JSON array, pretty-printed objects, tables, or compressed. Read line
by line, such a file gets a complaint for each of its lines; recognised, it gets one sentence.
A file whose first line is a JSON value is JSON lines, whatever the other lines are.

In this room, and not in files/, because it takes knowing JSON text, and because ingestion and
the commands must tell the same shapes apart. Pure: does not know names, files or what a row is.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

HEAD_BYTES: Final = 1 << 18
"""How much of a file is enough to recognise it."""

BOM: Final = b"\xef\xbb\xbf"
"""The mark with which programs of Windows begin UTF-8; it says nothing and is skipped."""

COLUMNS: Final = frozenset(
    ("messages", "conversations", "prompt", "completion", "instruction", "input", "output", "text")
)
"""Names that make the first line of a table recognisable."""

DELIMITERS: Final = (",", "\t", ";", "|")


class FileShape(StrEnum):
    """
    What a file can be; the value is how a sentence calls it.
    """

    LINES = "JSON lines"
    ARRAY = "one JSON array"
    OBJECTS = "JSON objects over several lines, or several on one line"
    RETURNS = "text whose lines end in a carriage return alone"
    TABLE = "a table (CSV or TSV)"
    UTF16 = "UTF-16 text"
    UTF32 = "UTF-32 text"
    GZIP = "compressed with gzip"
    BZIP2 = "compressed with bzip2"
    XZ = "compressed with xz"
    ZSTD = "compressed with zstd"
    ZIP = "a zip archive (or an Excel sheet)"
    TAR = "a tar archive"
    PARQUET = "a Parquet file"
    ARROW = "an Arrow file"
    TEXT = "text without any JSON object"
    BINARY = "binary data"


CONVERTIBLE: Final = frozenset(
    (
        *(FileShape.ARRAY, FileShape.OBJECTS, FileShape.RETURNS, FileShape.TABLE),
        *(FileShape.UTF16, FileShape.UTF32, FileShape.PARQUET),
        *(FileShape.GZIP, FileShape.BZIP2, FileShape.XZ),
    )
)
"""Of which finetuned convert makes JSON lines."""

COMPRESSED: Final = frozenset((FileShape.GZIP, FileShape.BZIP2, FileShape.XZ))
"""Which hold another file that can be read from them."""

WAY_OUT: Final = {
    FileShape.ZSTD: "unpack it: zstd -dc {file} > NEW.jsonl",
    FileShape.ZIP: "unpack it: unzip {file}; or save the sheet as CSV (UTF-8)",
    FileShape.TAR: "unpack it: tar -xf {file}",
    FileShape.ARROW: "load it with datasets.Dataset.from_file and write it with to_json",
    FileShape.TEXT: 'put each document on a line of its own as {"text": "..."}',
    FileShape.BINARY: "one JSON object on each line is expected",
}
"""What to do with a shape that is not converted; {file} stands for the file."""

_MAGIC: Final = (
    (b"\x1f\x8b\x08", FileShape.GZIP),
    (b"\x28\xb5\x2f\xfd", FileShape.ZSTD),
    (b"\xfd7zXZ\0", FileShape.XZ),
    (b"PK\x03\x04", FileShape.ZIP),
    (b"PAR1", FileShape.PARQUET),
    (b"ARROW1\0", FileShape.ARROW),
    (b"\xff\xfe\0\0", FileShape.UTF32),
    (b"\0\0\xfe\xff", FileShape.UTF32),
    (b"\xff\xfe", FileShape.UTF16),
    (b"\xfe\xff", FileShape.UTF16),
)
_BZIP2: Final = re.compile(rb"BZh[1-9]1AY&SY")
_SPACE: Final = " \t\r\n"
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1d\x7f]")
_UTF16_LITTLE: Final = re.compile(rb"(?:[\t\n\r -~]\0){2}")
_UTF16_BIG: Final = re.compile(rb"(?:\0[\t\n\r -~]){2}")
_RECORD_SEPARATOR: Final = "\x1e"
"""Begins each value of a JSON text sequence (RFC 7464)."""


@dataclass(frozen=True, slots=True)
class Table:
    """
    The first line of a table.
    """

    delimiter: str
    columns: tuple[str, ...]
    """As the table spells them; surrounding blanks are removed."""


def recognise(head: bytes, *, whole: bool) -> FileShape:
    """
    Return what a file is.

    Args:
        head: Its first bytes, HEAD_BYTES or fewer.
        whole: Whether that is all of it.
    """
    for magic, shape in _MAGIC:
        if head.startswith(magic):
            return shape
    if _BZIP2.match(head):
        return FileShape.BZIP2
    if head[257:262] == b"ustar":
        return FileShape.TAR
    if _UTF16_LITTLE.match(head) or _UTF16_BIG.match(head):
        return FileShape.UTF16
    text = head.removeprefix(BOM).decode("utf-8", "replace").lstrip(_SPACE)
    first, _, rest = text.partition("\n")
    # A line that was cut at the end of the head cannot be judged.
    first_is_whole = whole or len(first) < len(text)
    alone = text.startswith("[") and not rest.strip()
    if first_is_whole and not alone and _is_json(first):
        return FileShape.LINES
    return _unlike_lines(text, first.strip(), whole=whole) or _without_json(head, text)


def table_of(text: str) -> Table | None:
    """
    Return the header of a table if the first line of *text* is one, else None.

    It is one if a delimiter splits it into columns of which one has a name of COLUMNS.
    """
    line = text.lstrip(_SPACE).partition("\n")[0].rstrip("\r")
    best: Table | None = None
    for delimiter in DELIMITERS:
        try:
            names = tuple(
                n.strip() for n in next(csv.reader(io.StringIO(line), delimiter=delimiter))
            )
        except (csv.Error, StopIteration):
            continue
        known = any(name.lower() in COLUMNS for name in names)
        if known and (best is None or len(names) > len(best.columns)):
            best = Table(delimiter, names)
    return best


def encoding_of(head: bytes) -> str:
    """
    Return the encoding of a text by its mark, or by the NUL bytes of UTF-16; utf-8-sig otherwise.

    Args:
        head: Its first bytes, at least 4 unless it has fewer.
    """
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if _UTF16_LITTLE.match(head):
        return "utf-16-le"
    return "utf-16-be" if _UTF16_BIG.match(head) else "utf-8-sig"


def way_out(shape: FileShape, command: str, file: str = "FILE") -> str:
    """
    Return what to do with a file that is not JSON lines.

    Args:
        shape: What it is.
        command: Converts it, as a person types it.
        file: The file, as a person types it.
    """
    if shape in CONVERTIBLE:
        return f"make JSON lines of it: {command}"
    return WAY_OUT[shape].replace("{file}", file)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _unlike_lines(text: str, first: str, *, whole: bool) -> FileShape | None:
    """Return the shape of JSON text that is not one value on each line, None if it may be."""
    if text.startswith("["):
        inside = text[1:].lstrip(_SPACE)
        empty = whole and inside[:1] == "]" and not inside[1:].strip()
        return FileShape.ARRAY if inside[:1] == "{" or empty else FileShape.LINES
    if text.startswith(_RECORD_SEPARATOR):
        return FileShape.OBJECTS
    if not text.startswith("{"):
        return None
    if first == "{" and text[1:].lstrip(_SPACE)[:1] in ('"', "}"):
        return FileShape.OBJECTS
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return FileShape.LINES  # the reader of lines says what is wrong, and where
    if "\n" in text[:end]:
        return FileShape.OBJECTS
    after = text[end:].lstrip(" \t")
    if after.startswith("\r") and not after.startswith("\r\n"):
        return FileShape.RETURNS
    return FileShape.OBJECTS if after.startswith(("{", ",")) else FileShape.LINES


def _without_json(head: bytes, text: str) -> FileShape:
    """Return the shape of a file that does not begin with an object or an array."""
    if _CONTROL.search(head):
        return FileShape.BINARY
    lines = [line for line in text.splitlines() if line.strip()]
    objects = [line.lstrip().startswith(("{", "[")) for line in lines]
    if table_of(text) is not None and not any(objects[1:2]):
        return FileShape.TABLE
    return FileShape.TEXT if lines and not any(objects) else FileShape.LINES
