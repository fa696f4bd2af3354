"""
The drop folder: what lies in it, how a file is taken, where it ends up.

The daemon only renames; it never edits and never deletes what somebody
dropped. Names are bytes: a hostile name is data, not an error. Does not know
what is in a file, nor when it is stable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from finetuned.core.stability import Seen
from finetuned.files.atomic import fsync_dir
from finetuned.files.inbox_names import is_dataset_name, why_ignored
from finetuned.layout import Layout, Priority

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_SAFE_NAME_CHARACTERS = 80
_NAME_BYTES = 255
_KEY = re.compile(r"d\d{8,}")


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


def escape_name(name: bytes) -> str:
    """
    Return *name* as printable text: for logs, status and file names of our own.

    Control characters, bytes that are not UTF-8 and surrogates become ``\\xNN``.
    """
    text = name.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def safe_stem(name: bytes) -> str:
    """
    Return a short, harmless file name stem that still reads like *name*.
    """
    stem = os.path.basename(name).removesuffix(b".jsonl").decode("ascii", "replace")
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)
    return kept.strip("._-")[:_SAFE_NAME_CHARACTERS] or "dataset"


def encode_name(name: bytes) -> str:
    """
    Return *name* as an ASCII file name of at most 255 bytes, readable where it was plain.

    decode_name gives it back, unless it was so long and so strange that it had to be cut.
    """
    text = quote_from_bytes(name, safe=" !#$&'()+,;=@[]{}~")
    return text if len(text) <= _NAME_BYTES else f"{text[: _NAME_BYTES - 12]}.cut.jsonl"


def decode_name(text: str) -> bytes:
    """
    Return the name that encode_name encoded.
    """
    return unquote_to_bytes(text)


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
    Yield every ``*.jsonl`` in inbox/ and inbox/{high,normal,low}/, best priority first.

    Names that are ignored, and that nobody would expect to be, are yielded with the
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
                            at_top=not folder,
                        )
                        if ignored is None and not is_dataset_name(entry.name):
                            continue
                        try:
                            info = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue  # taken away between listing and lstat: not ours any more
                        yield InboxEntry(
                            path=os.path.join(folder, entry.name) if folder else entry.name,
                            priority=priority,
                            seen=Seen(info.st_size, info.st_mtime_ns, info.st_ino),
                            problem=ignored or _problem(info.st_mode, entry.path),
                        )
            except FileNotFoundError:
                if not folder:
                    raise


def complete(layout: Layout, n_claimed: int) -> None:
    """
    Make the folders of an inbox that somebody made again without them.

    Args:
        layout: The root.
        n_claimed: How many claimed files have to be in processing/.

    Raises:
        FileNotFoundError: processing/ is missing with files in it: another inbox,
            or one that is not mounted, is no place to look for them.
    """
    if layout.processing.is_dir():
        return
    if n_claimed:
        raise FileNotFoundError(
            errno.ENOENT, f"{n_claimed} claimed files are missing", str(layout.processing)
        )
    for folder in (layout.done, layout.quarantine, layout.processing):
        folder.mkdir(exist_ok=True)


def unchanged(layout: Layout, entry: InboxEntry) -> bool:
    """
    Return whether a file is still what the scan saw.
    """
    try:
        info = os.lstat(os.path.join(os.fsencode(layout.inbox), entry.path))
    except OSError:
        return False
    return Seen(info.st_size, info.st_mtime_ns, info.st_ino) == entry.seen


def claim(layout: Layout, entry: InboxEntry, key: str) -> Path:
    """
    Take one file out of the inbox, by rename into ``processing/<key>/``.

    The folder keeps the file's own name, percent-encoded, so that a crash right
    after the rename loses nothing: recovery reads the name from there. Nothing
    is synced: after a power cut the file is here or there, and both are found.

    Args:
        layout: The root.
        entry: What a scan found, without a problem.
        key: Unique name of this claim.

    Returns:
        Where the file is now.

    Raises:
        FileNotFoundError: It is gone; somebody took it back.
        OSError: The file system refused; the file is where it was.
    """
    folder = layout.processing / key
    try:
        folder.mkdir()
    except FileNotFoundError:
        raise NotADirectoryError(
            errno.ENOTDIR, "missing or not a directory", str(layout.processing)
        ) from None
    source = os.path.join(os.fsencode(layout.inbox), entry.path)
    target = folder / encode_name(os.path.basename(entry.path))
    try:
        os.rename(source, target)
    except OSError:
        folder.rmdir()
        raise
    return target


def claimed_file(layout: Layout, key: str) -> Path | None:
    """
    Return the file claimed under *key*, or None when the folder is empty or gone.

    Raises:
        FileNotFoundError: processing/ itself is gone: nothing is known of the file.
        OSError: The file system refused.
    """
    # Through a descriptor, so that a claim that ended and an inbox that was
    # unmounted can be told apart.
    parent = os.open(layout.processing, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder = os.open(key, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
    try:
        names = sorted(os.listdir(folder))
    finally:
        os.close(folder)
    return layout.processing / key / names[0] if names else None


def claimed_keys(layout: Layout) -> list[str]:
    """
    Return the keys of all claims on disk, oldest first.
    """
    return sorted(p.name for p in layout.processing.iterdir() if p.is_dir())


def last_claim(layout: Layout) -> int:
    """
    Return the highest claim number that any file on disk carries, 0 when there is none.
    """
    numbers = [0]
    for folder in (layout.processing, layout.done, layout.quarantine):
        for name in os.listdir(folder) if folder.is_dir() else ():
            numbers += [int(word[1:]) for word in name.split(".") if _KEY.fullmatch(word)]
    return max(numbers)


def rename_noreplace(source: Path, target: Path) -> None:
    """
    Rename, and fail rather than overwrite.

    Raises:
        FileExistsError: *target* exists; nothing was changed.
        OSError: The file system refused; nothing was changed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE
    )
    if result == 0:
        return
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):  # a file system without the flag, such as NFS
        os.link(source, target, follow_symlinks=False)
        source.unlink()
        return
    raise OSError(code, os.strerror(code), str(target))


def retire(layout: Layout, key: str, *, folder: Path, label: str) -> Path | None:
    """
    Move a claimed original to its last place, under a name that cannot clash.

    Idempotent: what an earlier, interrupted call did is completed.

    Args:
        layout: The root.
        key: The claim.
        folder: ``layout.done`` or ``layout.quarantine``.
        label: Stem of the final name; *key* is appended, so equal names never meet.

    Returns:
        Where the original is now, or None when it had been moved before.
    """
    final = folder / f"{label}.{key}.jsonl"
    source = claimed_file(layout, key)
    if source is not None and not final.exists():
        rename_noreplace(source, final)
        fsync_dir(folder)
    try:
        (layout.processing / key).rmdir()
    except (FileNotFoundError, OSError):
        pass  # not empty or gone: recovery looks again at the next start
    return final if final.exists() else None


def unclaim(layout: Layout, key: str, path: bytes) -> bool:
    """
    Put a file that changed after its claim back where it was.

    Returns:
        True when it is back in the inbox; False when its name is taken by
        another file, in which case it stays claimed.
    """
    source = claimed_file(layout, key)
    if source is None:
        return True
    target = Path(os.fsdecode(os.path.join(os.fsencode(layout.inbox), path)))
    try:
        rename_noreplace(source, target)
    except FileExistsError:
        return False
    fsync_dir(target.parent)
    (layout.processing / key).rmdir()
    return True
