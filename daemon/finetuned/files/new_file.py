"""
A file that has no name until it is complete, and never takes the place of another.

By O_TMPFILE and linkat (Linux >= 3.11), so that a process that is killed leaves nothing behind;
file systems without it, such as NFS, get a hidden temporary file. Source: open(2), linkat(2).
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from finetuned.files.atomic import fsync_dir
from finetuned.files.rename import rename_noreplace

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT)
"""What an open with O_TMPFILE raises if the file system, or the kernel, does not know it."""


class NewFile:
    """
    A new file in *folder*, open for writing; gone at the end of the block unless published.
    """

    def __init__(self, folder: Path, *, nameless: bool = True) -> None:
        """
        Args:
            folder: An existing folder, in which the file will appear.
            nameless: Whether the kernel is asked for a file without a name.

        Raises:
            OSError: The file system refused.
        """
        self._folder = folder
        self._temporary: Path | None = None
        fd = _open_nameless(folder) if nameless else None
        if fd is None:
            fd, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".tmp")
            self._temporary = Path(name)
        self.file: BinaryIO = open(fd, "wb")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
        self.file.close()

    def publish(self, name: str, *, mode: int = 0o644) -> None:
        """
        Let the file appear under *name*, whole and durable.

        Raises:
            FileExistsError: Something of that name is there; it was not touched.
            OSError: The file system refused; there is no file of that name, or, if only the
                sync of the folder failed, there is and a power cut may undo that.
        """
        self.file.flush()
        os.fchmod(self.file.fileno(), mode)
        os.fsync(self.file.fileno())
        if self._temporary is not None:
            rename_noreplace(self._temporary, self._folder / name)
        else:
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                # With dst_dir_fd it is linkat, which follows the link in /proc to the open file.
                os.link(
                    f"/proc/self/fd/{self.file.fileno()}",
                    name,
                    dst_dir_fd=folder,
                    follow_symlinks=True,
                )
            finally:
                os.close(folder)
        fsync_dir(self._folder)


def _open_nameless(folder: Path) -> int | None:
    """Return a descriptor of a file without a name, None if there is no such thing here."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in _UNSUPPORTED and folder.is_dir():
            return None
        raise
