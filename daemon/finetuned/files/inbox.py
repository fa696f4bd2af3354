"""
What lies in the inbox: a scan of its folders, best priority first.

Names are bytes: a hostile name is data, not an error. Does not know what is in a
file, or when it is stable.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finetuned.core.stability import Seen
from finetuned.files.inbox_names import is_dataset_name, why_ignored
from finetuned.layout import Layout, Priority


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """
    One name found by a scan.
    """

    path: bytes
    """Path below inbox/, e.g. ``b"high/a.jsonl"``."""
    priority: Priority
    seen: Seen
    problem: str | None
    """Why it can never be claimed as it is (symlink, FIFO ...), or None."""


def _problem(mode: int, path: bytes) -> str | None:
    if stat.S_ISREG(mode):
        if not os.access(path, os.R_OK):
            return "not readable by the daemon's user; change its mode or owner"
        return None
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFDIR: "a directory",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode), "not a regular file")
    return f"{kind}; only regular files are read, drop a copy instead"


def scan(layout: Layout) -> Iterator[InboxEntry]:
    """
    Yield every dataset in inbox/ and inbox/{high,normal,low}/, best priority first.

    Names that are ignored for a reason that is not obvious are yielded with the
    reason as their problem. Nothing is opened, so nothing can block: type, size and times
    come from lstat.

    Raises:
        OSError: inbox/ is missing or not readable. A missing priority folder is fine.
    """
    inbox = os.fsencode(layout.inbox)
    for priority, folders in (
        (Priority.HIGH, (b"high",)),
        (Priority.NORMAL, (b"", b"normal")),
        (Priority.LOW, (b"low",)),
    ):
        for folder in folders:
            try:
                with os.scandir(os.path.join(inbox, folder)) as entries:
                    for entry in sorted(entries, key=lambda e: e.name):
                        ignored = why_ignored(
                            entry.name,
                            is_folder=entry.is_dir(follow_symlinks=False),
                            folder=folder,
                        )
                        if ignored is None and not is_dataset_name(entry.name):
                            continue
                        try:
                            info = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue  # removed between listing and lstat
                        yield InboxEntry(
                            path=os.path.join(folder, entry.name) if folder else entry.name,
                            priority=priority,
                            seen=Seen(info.st_size, info.st_mtime_ns, info.st_ino),
                            problem=ignored or _problem(info.st_mode, entry.path),
                        )
            except FileNotFoundError:
                if not folder:
                    raise


def complete(layout: Layout, n_claimed: int) -> list[str]:
    """
    Make inbox/ and its folders again, if somebody removed them.

    Args:
        layout: The root.
        n_claimed: How many claimed files have to be in processing/.

    Returns:
        What was made, relative to the root.

    Raises:
        FileNotFoundError: processing/ should hold claimed files and is missing, or inbox/ is a
            link to nothing: this may be another inbox, or one that is not mounted.
        OSError: The file system refused.
    """
    if n_claimed and not layout.processing.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, f"{n_claimed} claimed files are missing", str(layout.processing)
        )
    if layout.inbox.is_symlink() and not layout.inbox.exists():
        raise FileNotFoundError(errno.ENOENT, "a link to nothing", str(layout.inbox))
    own = (layout.processing, layout.done, layout.quarantine)
    return make_folders(layout, layout.inbox, *(layout.inbox / p for p in Priority), *own)


def make_folders(layout: Layout, *folders: Path) -> list[str]:
    """
    Make those of *folders* that are missing, and return them, relative to the root.

    Raises:
        OSError: The file system refused; the root itself is never made.
    """
    made = []
    for folder in folders:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            made.append(str(folder.relative_to(layout.root)))
    return made


def unchanged(layout: Layout, entry: InboxEntry) -> bool:
    """
    Return whether a file is unchanged since the scan.
    """
    try:
        info = os.lstat(os.path.join(os.fsencode(layout.inbox), entry.path))
    except OSError:
        return False
    return Seen(info.st_size, info.st_mtime_ns, info.st_ino) == entry.seen
