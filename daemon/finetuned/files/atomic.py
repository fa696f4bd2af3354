"""
Write files and folders so that a reader, or a power cut, sees all of one or none of it.

Temporary file in the same directory, fsync, rename, fsync the directory:
the order restic uses (internal/backend/local/local.go, Save). The directory
sync is the step most programs forget; without it a crash can lose the rename.
A failed fsync is never retried on the same descriptor: the kernel may have
dropped the dirty pages, and a second fsync would say "done" (Rebello, ATC'20).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o644) -> None:
    """
    Replace *path* with *data*.

    Args:
        path: The file to replace. Its directory must exist.
        data: The whole new content, in bytes.
        durable: Whether to wait for the disk. A heartbeat that is replaced
            every second need not survive a power cut; a decision must.
        mode: Permission bits of the new file.

    Raises:
        OSError: The old content is still in place; or, if only the directory sync
            failed, the new content is in place and a power cut may undo that.
    """
    fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp")
    try:
        with open(fd, "wb") as f:
            f.write(data)
            f.flush()
            os.fchmod(fd, mode)
            if durable:
                os.fsync(fd)
        os.replace(tmp, path)
    except BaseException:
        Path(tmp).unlink(missing_ok=True)
        raise
    if durable:
        fsync_dir(path.parent)


def fsync_dir(path: Path) -> None:
    """
    Make the names in directory *path* durable.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Path) -> None:
    """
    Make the bytes of *path* durable.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_tree(path: Path) -> None:
    """
    Make every file and every name under *path* durable, leaves first.
    """
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            fsync_file(Path(folder, name))
        fsync_dir(Path(folder))


def publish_dir(building: Path, final: Path) -> None:
    """
    Make the finished folder *building* appear as *final*, whole and durable.

    Both must be on one file system. The caller has written the manifest last.

    Raises:
        OSError: *final* exists and is not empty, or the disk refused; *final* is untouched.
    """
    fsync_tree(building)
    os.rename(building, final)
    fsync_dir(final.parent)


def remove_tree(path: Path) -> None:
    """
    Remove a folder so that a crash half-way leaves nothing that looks finished.

    It is renamed out of sight first: a reader of the parent never meets a
    folder that still has its manifest and no longer its weights.
    """
    hidden = path.with_name(f".removing-{path.name}")
    try:
        os.rename(path, hidden)
    except FileNotFoundError:
        return
    fsync_dir(path.parent)
    shutil.rmtree(hidden, ignore_errors=True)


def sha256_file(path: Path, *, on_progress: Callable[[], object] | None = None) -> str:
    """
    Return the SHA-256 of *path* as 64 hex digits, in constant memory.

    Args:
        path: The file.
        on_progress: Called after each CHUNK_BYTES; what it raises ends the reading.
    """
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(CHUNK_BYTES):
            digest.update(chunk)
            if on_progress is not None:
                on_progress()
    return digest.hexdigest()
