"""
Which files somebody has open for writing, as far as the kernel tells, and who.

Two ways. A read lease (fcntl(2), F_SETLEASE) is refused while a file is open for writing
anywhere on this machine; it may be asked for by the owner of the file. /proc names the
processes, of the same user only. File systems of other machines (NFS, SMB) tell nothing, and
for them the age of the last change has to do. Does not know the inbox.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from finetuned.core.text import printable

_ASK_THE_SERVER: Final = frozenset({"cifs", "nfs", "nfs4", "smb3", "smbfs"})
"""File systems that refuse a lease for reasons of their own as well."""


@dataclass(frozen=True, slots=True)
class Writer:
    """
    A process that has a file open for writing.
    """

    pid: int | None
    """Its process id; None if it belongs to another user or lives in another container."""
    command: str | None
    """Its name, printable; None with *pid*."""

    def __str__(self) -> str:
        if self.pid is None:
            return "a process that this user may not see"
        return f"{self.command} (pid {self.pid})"


def open_writers(paths: Iterable[bytes]) -> dict[bytes, Writer]:
    """
    Return those of *paths* that somebody has open for writing, each with one process.

    A path that is missing here may still have a writer, if the kernel cannot tell.

    Args:
        paths: Absolute paths of regular files. Each is opened for a moment, never waiting.
    """
    refused = {path: _lease_refused(path) for path in paths}
    # Whatever a lease has ruled out need not be looked for in /proc.
    doubtful = [path for path, answer in refused.items() if answer is not False]
    if not doubtful:
        return {}
    found = _named_by_proc(doubtful)
    for path in doubtful:
        if refused[path] and path not in found and _file_system(path) not in _ASK_THE_SERVER:
            found[path] = Writer(None, None)
    return found


def surely_written(path: bytes) -> bool:
    """
    Return whether the kernel says that somebody has a file open for writing; costs microseconds.
    """
    return _lease_refused(path) is True and _file_system(path) not in _ASK_THE_SERVER


def _lease_refused(path: bytes) -> bool | None:
    """Return whether a read lease is refused for a writer's sake; None if nobody can tell."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Whoever opens the file while the lease is held is announced by a signal, and that of
        # the default, SIGIO, ends a process that does not expect it. SIGURG is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return False


def _named_by_proc(paths: Iterable[bytes]) -> dict[bytes, Writer]:
    """Return the writers of *paths* among the processes of this user."""
    wanted = {os.path.realpath(path): path for path in paths}
    found: dict[bytes, Writer] = {}
    for pid in psutil.pids():
        folder = f"/proc/{pid}/fd"
        with suppress(OSError):  # another user's, or it has ended
            for number in os.listdir(folder):
                target = os.readlink(os.fsencode(f"{folder}/{number}"))
                if target in wanted and _writes(pid, number):
                    found[wanted[target]] = Writer(pid, _command(pid))
    return found


def _writes(pid: int, number: str) -> bool:
    """Return whether a descriptor of a process was opened for writing."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text().splitlines():
            if line.startswith("flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _command(pid: int) -> str:
    """Return the name of a process."""
    with suppress(OSError):
        return printable(os.fsdecode(Path(f"/proc/{pid}/comm").read_bytes()).rstrip("\n"))
    return "a process that has ended"


def _file_system(path: bytes) -> str:
    """Return the type of the file system that *path* lies on, empty if unknown."""
    real = os.fsdecode(os.path.realpath(path))
    types = {
        part.mountpoint: part.fstype
        for part in psutil.disk_partitions(all=True)
        if real.startswith(part.mountpoint.rstrip("/") + "/")
    }
    return types[max(types, key=len)] if types else ""
