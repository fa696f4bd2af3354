"""
A claimed file, read without trusting it to stay as it is.

Knows descriptors; does not know rows.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from finetuned.core.phase import Phase
from finetuned.data.file_shape import HEAD_BYTES, FileShape, recognise
from finetuned.data.strict_json import Oversized
from finetuned.errors import UnstableDataset
from finetuned.files.atomic import CHUNK_BYTES
from finetuned.files.line_mark import LineRange

Tick = Callable[[Phase, int, int], None]
"""Called between batches with phase, rows and bytes so far; may raise Interrupted."""

Line = tuple[int, int, bytes | Oversized]
"""Number, offset and bytes of one line, as strict_json.iter_lines yields them."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    One claimed file.
    """

    dataset_key: str
    """The claim's name: letters, digits, dots, dashes and underscores."""

    path: Path
    name: str
    """What people called the file, printable."""

    claimed_bytes: int | None = None
    """Its size in bytes when it was claimed; another size means that it is still being written."""

    stuck: tuple[LineRange, ...] = ()
    """As in spec.ClaimedFile."""


class SourceUnreadable(Exception):
    """
    The source can no longer be read; the message says why.
    """


def open_regular(path: Path) -> int:
    """
    Open a regular file for reading, never following a link and never waiting.

    Raises:
        OSError: It cannot be opened, or is a link, a directory, a FIFO or a device.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a regular file")
    return fd


def shape_of(fd: int) -> FileShape:
    """
    Return what an open file is, from its first bytes; its position stays.

    Raises:
        SourceUnreadable: The disk refused.
    """
    try:
        head = os.pread(fd, HEAD_BYTES + 1, 0)
    except OSError as error:
        raise SourceUnreadable(why_unreadable(error)) from error
    return recognise(head[:HEAD_BYTES], whole=len(head) <= HEAD_BYTES)


def hash_source(fd: int, tick: Tick) -> str:
    """
    Return the SHA-256 of the file from its current position, as 64 hex digits.

    Raises:
        SourceUnreadable: The disk refused.
        Interrupted: *tick* raised it.
    """
    digest = sha256()
    n_bytes = 0
    try:
        while chunk := os.read(fd, CHUNK_BYTES):
            digest.update(chunk)
            n_bytes += len(chunk)
            tick(Phase.HASHING, 0, n_bytes)
    except OSError as error:
        raise SourceUnreadable(why_unreadable(error)) from error
    return digest.hexdigest()


def guarded(
    lines: Iterator[Line],
) -> Iterator[Line]:
    """
    Yield *lines*, with an error of reading told apart from an error of writing.

    Raises:
        SourceUnreadable: The disk refused.
    """
    try:
        yield from lines
    except OSError as error:
        raise SourceUnreadable(why_unreadable(error)) from error


def require_unchanged(
    path: Path, fd: int, before: os.stat_result, digest: str, read_digest: str
) -> None:
    """
    Raise unless the file is unchanged since it was opened.

    Args:
        path: The path it was opened by; another file may have replaced it.
        fd: The open file.
        before: Its status then.
        digest: Its hash before validation.
        read_digest: The hash of the validated bytes.

    Raises:
        UnstableDataset: It was appended to, rewritten, replaced or removed.
    """
    after = os.fstat(fd)
    if digest != read_digest or _identity(after) != _identity(before):
        raise UnstableDataset("the file changed while it was being read")
    try:
        at_path = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise UnstableDataset(f"the file is gone: {why_unreadable(error)}") from None
    if at_path.st_ino != before.st_ino:
        raise UnstableDataset("the file was replaced while it was being read")


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def why_unreadable(error: OSError) -> str:
    """
    Return the error as one phrase for a person.
    """
    return f"cannot be read: {error.strerror or error}"
