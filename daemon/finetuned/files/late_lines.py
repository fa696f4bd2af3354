"""
Lines that were appended to a file after it was read: found, and cut off as a file of their own.

Knows bytes and lines; does not know the inbox or what is in a line.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from finetuned.files.atomic import CHUNK_BYTES, fsync_dir, fsync_file
from finetuned.files.rename import rename_noreplace


class Change(StrEnum):
    """
    What became of a file since it was read.
    """

    NONE = "none"
    APPENDED = "appended"
    """Its bytes of then are unchanged, and more follow."""
    REWRITTEN = "rewritten"
    """Bytes that were read are different now, or missing."""


def change_since(
    path: Path, *, n_bytes: int, digest: str | None, mtime_ns: int | None = None
) -> Change:
    """
    Return how a file differs from what was read of it.

    It is read again only if its size or time differs.

    Args:
        path: The file.
        n_bytes: Its size when it was read.
        digest: SHA-256 of those bytes in hex; None if unknown, then the size decides.
        mtime_ns: Its modification time then, in ns since the epoch; None if unknown.

    Raises:
        OSError: It cannot be read.
    """
    now = path.lstat()
    touched = mtime_ns is not None and now.st_mtime_ns != mtime_ns
    if now.st_size == n_bytes and not (touched and digest is not None):
        return Change.NONE
    if now.st_size < n_bytes or (digest is not None and _digest(path, n_bytes) != digest):
        return Change.REWRITTEN
    return Change.APPENDED if now.st_size > n_bytes else Change.NONE


def first_late_byte(path: Path, n_bytes: int) -> int:
    """
    Return where the lines begin that nobody has read whole.

    Args:
        path: A file that was read up to *n_bytes*, maybe in the middle of a line.
        n_bytes: Its size when it was read.
    """
    with path.open("rb") as file:
        file.seek(n_bytes)
        if n_bytes == 0 or file.read(1) in (b"\n", b""):
            return n_bytes
        end = n_bytes
        while end > 0:
            start = max(0, end - CHUNK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def cut_off(source: Path, start: int, end: int, target: Path) -> bool:
    """
    Copy bytes of a file into a new one that appears whole, or not at all.

    Args:
        source: The file; it is not changed.
        start: First byte.
        end: Behind the last byte.
        target: The new file. One of this name stays as it is.

    Returns:
        Whether there is a line among those bytes; without one nothing is written.

    Raises:
        OSError: The file system refused; there is no new file.
    """
    temporary = target.with_name(f".{target.name}.part")
    with source.open("rb") as whole, temporary.open("wb") as part:
        whole.seek(start)
        blank = _copy(whole, part, end - start)
    if blank:
        temporary.unlink()
        return False
    fsync_file(temporary)
    try:
        rename_noreplace(temporary, target)
    except FileExistsError:
        temporary.unlink()
    fsync_dir(target.parent)
    return True


def _copy(whole: BinaryIO, part: BinaryIO, left: int) -> bool:
    """Copy *left* bytes; return whether all of them are white space."""
    blank = True
    while left > 0 and (chunk := whole.read(min(CHUNK_BYTES, left))):
        part.write(chunk)
        blank = blank and not chunk.strip()
        left -= len(chunk)
    return blank


def _digest(path: Path, n_bytes: int) -> str:
    digest, left = sha256(), n_bytes
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
