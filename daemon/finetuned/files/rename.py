"""
Renames that plain rename(2) does not offer: without overwriting, and two names swapped.

By renameat2 (Linux >= 3.15); file systems without its flags get the nearest thing.
Source: renameat2(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def rename_noreplace(source: Path, target: Path) -> None:
    """
    Rename, and fail rather than overwrite.

    Raises:
        FileExistsError: *target* exists; nothing was changed.
        OSError: The file system refused; nothing was changed.
    """
    if not _renameat2(source, target, _RENAME_NOREPLACE):
        os.link(source, target, follow_symlinks=False)
        source.unlink()


def exchange(one: Path, other: Path) -> None:
    """
    Swap the names of two files or folders in one step.

    On a file system without the exchange, *other* is moved aside to a name that
    ends in ``-damaged`` beside *one*, then *one* takes its place. Between the two
    steps the name *other* is missing, and after a crash it stays missing.

    Raises:
        OSError: The file system refused.
    """
    if not _renameat2(one, other, _RENAME_EXCHANGE):
        os.rename(other, one.with_name(f"{one.name}-damaged"))
        os.rename(one, other)


def _renameat2(source: Path, target: Path, flags: int) -> bool:
    """Return whether it was done; False if the file system lacks the flag, such as NFS."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))
