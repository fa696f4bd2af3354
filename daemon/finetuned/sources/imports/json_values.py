"""
JSON objects of a file, one array or one on each line, read so strictly that a cut file is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from finetuned.data.file_shape import FileShape
from finetuned.data.strict_json import Oversized, lines_of, parse_line
from finetuned.errors import CannotImport, MalformedExample
from finetuned.sources.conversion.json_text import Read, values_of
from finetuned.sources.conversion.text import Text
from finetuned.sources.imports.found import Place

Object = tuple[Place, dict[str, object] | None, str]
"""Where it begins, the object (None if it is none), and then what is wrong."""


def objects_of(text: Text, name: str, max_bytes: int) -> Iterator[Object]:
    """
    Yield the objects of a text.

    Args:
        text: JSON of any layout.
        name: Of the file.
        max_bytes: Longest object.

    Raises:
        CannotImport: The last line breaks off.
        CannotConvert: An array or an object is not closed.
    """
    if text.shape in (FileShape.ARRAY, FileShape.OBJECTS):
        in_array = text.shape is FileShape.ARRAY
        for line, value in values_of(text.read, in_array=in_array, max_bytes=max_bytes):
            yield _object(Place(name, line), value, max_bytes)
        return
    ends = _End(text.read)
    wrong: Object | None = None
    for line, _, value in lines_of(ends.read, max_bytes):
        if wrong is not None:
            yield wrong
            wrong = None
        found = _object(Place(name, line), value, max_bytes)
        if found[1] is None:
            wrong = found  # held back: if it is the last line, the file may break off in it
        else:
            yield found
    if wrong is not None:
        if ends.last != b"\n":
            raise CannotImport(
                f"line {wrong[0].line}: the file breaks off in its last line ({wrong[2]}); export "
                "it again"
            )
        yield wrong


class _End:
    """A reader that remembers the last byte that was read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.last = b"\n"

    def read(self, n: int) -> bytes:
        piece = self._read(n)
        self.last = piece[-1:] or self.last
        return piece


def _object(place: Place, value: bytes | Oversized, max_bytes: int) -> Object:
    if isinstance(value, Oversized):
        return place, None, f"it has {value.n_bytes} bytes, at most {max_bytes} are allowed"
    try:
        parsed = parse_line(value)
    except MalformedExample as error:
        return place, None, str(error.reason)
    if not isinstance(parsed, dict):
        return place, None, f"found {value[:40].decode('utf-8', 'replace')}, expected an object"
    return place, parsed, ""
