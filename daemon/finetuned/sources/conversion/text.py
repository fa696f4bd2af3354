"""
A file opened as the text in it: unpacked, decoded, and its shape told.

Knows compression and encodings; does not know rows.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, Final, cast

from finetuned.data.file_shape import (
    COMPRESSED,
    HEAD_BYTES,
    FileShape,
    encoding_of,
    recognise,
)
from finetuned.sources.conversion.row import CannotConvert

MAX_LAYERS: Final = 3
"""Compressed files inside one another that are unpacked."""


@dataclass(frozen=True, slots=True)
class Text:
    """
    The text of one open file.
    """

    shape: FileShape
    """What the text is, once it is unpacked and decoded."""
    wrapped: tuple[FileShape, ...]
    """In what it was, the outermost first: compression, then an encoding other than UTF-8."""
    read: Callable[[int], bytes]
    """Returns at most so many bytes of UTF-8, none at the end."""
    stream: IO[bytes]
    """The unpacked bytes, at their beginning, before decoding."""
    characters: io.TextIOWrapper
    """The same decoded strictly, with its line ends as they are. Read this or *read*, not both."""

    def close(self) -> None:
        """
        Let go of the stream, which its owner closes.
        """
        self.characters.detach()


def open_text(stream: IO[bytes]) -> Text:
    """
    Return the text in an open file, which must be at its beginning and seekable.

    Raises:
        CannotConvert: The compressed data is damaged, or the text is not of its encoding.
        OSError: The disk refused.
    """
    wrapped: list[FileShape] = []
    with telling_damage():
        head, shape = _head(stream)
        while shape in COMPRESSED and len(wrapped) < MAX_LAYERS:
            wrapped.append(shape)
            stream = _unpacked(stream, shape)
            head, shape = _head(stream)
    encoding = encoding_of(head[:4])
    characters = io.TextIOWrapper(cast(BinaryIO, stream), encoding=encoding, newline="")
    read: Callable[[int], bytes] = stream.read
    if shape in (FileShape.UTF16, FileShape.UTF32):
        wrapped.append(shape)
        text = head[:HEAD_BYTES].decode(encoding, "ignore").encode("utf-8", "replace")
        shape = recognise(text, whole=len(head) <= HEAD_BYTES)

        def read(n: int) -> bytes:
            return characters.read(n).encode("utf-8", "surrogatepass")

    return Text(shape, tuple(wrapped), read, stream, characters)


@contextmanager
def telling_damage() -> Iterator[None]:
    """
    Raise what a decompressor or decoder says of damaged data as CannotConvert.
    """
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise CannotConvert(f"the compressed data is damaged or cut: {error}") from error
    except UnicodeError as error:
        raise CannotConvert(
            f"the text is not {getattr(error, 'encoding', 'of its encoding')} ({error}); if it "
            "was made on Windows: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
        ) from error


def _unpacked(stream: IO[bytes], shape: FileShape) -> IO[bytes]:
    if shape is FileShape.GZIP:
        return cast(IO[bytes], gzip.open(stream))
    return bz2.open(stream) if shape is FileShape.BZIP2 else lzma.open(stream)


def _head(stream: IO[bytes]) -> tuple[bytes, FileShape]:
    """Return the first bytes, one more than is looked at if there are more, and their shape."""
    head = b""
    while len(head) <= HEAD_BYTES and (piece := stream.read(HEAD_BYTES + 1 - len(head))):
        head += piece
    stream.seek(0)
    return head, recognise(head[:HEAD_BYTES], whole=len(head) <= HEAD_BYTES)
