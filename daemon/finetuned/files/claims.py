"""
Files taken out of the inbox: claimed into processing/, retired to done/ or rejected/, or put back.

The daemon never deletes or edits what somebody dropped; it moves it by rename. Does
not know what is in a file.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from finetuned.files.atomic import fsync_dir
from finetuned.files.inbox import InboxEntry
from finetuned.files.inbox_names import encode_name
from finetuned.files.rename import rename_noreplace
from finetuned.layout import Layout

_KEY = re.compile(r"d\d{8,}")
"""A claim's key, which is also part of its file's last name."""


def claim(layout: Layout, entry: InboxEntry, key: str) -> Path:
    """
    Take one file out of the inbox, by rename into ``processing/<key>/``.

    The folder keeps the file's own name, percent-encoded, so that a crash right
    after the rename loses nothing: recovery reads the name from there. Nothing
    is synced: after a power cut the file is in either place, and both are looked at.

    Args:
        layout: The root.
        entry: What a scan found, without a problem.
        key: Unique name of this claim.

    Returns:
        The file's new path.

    Raises:
        FileNotFoundError: The file is gone; somebody took it back.
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
    Return the file claimed under *key*, or None if the folder is empty or gone.

    Raises:
        FileNotFoundError: processing/ itself is gone, so nothing is known about the file.
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


def put_back_strangers(layout: Layout) -> list[str]:
    """
    Move what lies in processing/ and is no claim back into the inbox.

    The daemon puts one file into a folder of its own there. Whatever else is there a person, or
    a restore from a copy, has put; it would be read by nobody.

    Returns:
        The names that were moved; one whose name is taken in the inbox stays.
    """
    strangers: list[Path] = []
    for path in sorted(layout.processing.iterdir()):
        if path.is_dir() and not path.is_symlink():
            strangers += sorted(path.iterdir())[1:]
        else:
            strangers.append(path)
    moved = []
    for path in strangers:
        try:
            rename_noreplace(path, layout.inbox / path.name)
        except FileExistsError:
            continue
        moved.append(path.name)
    return moved


def last_claim(layout: Layout) -> int:
    """
    Return the highest claim number in the name of any file on disk, or 0 if there is none.
    """
    numbers = [0]
    for folder in (layout.processing, layout.done, layout.quarantine):
        for name in os.listdir(folder) if folder.is_dir() else ():
            numbers += [int(word[1:]) for word in name.split(".") if _KEY.fullmatch(word)]
    return max(numbers)


def retire(layout: Layout, key: str, *, folder: Path, label: str) -> Path | None:
    """
    Move a claimed original to its final folder, under a name that cannot clash.

    Idempotent: a call completes what an interrupted call began.

    Args:
        layout: The root.
        key: The claim.
        folder: ``layout.done`` or ``layout.quarantine``.
        label: Stem of the final name; *key* is appended, so equal names never meet.

    Returns:
        Where the original is now, or None if it was moved before.
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
        True if it is back in the inbox; False if its name is taken by another file,
        in which case it stays claimed.
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
