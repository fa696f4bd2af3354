"""
Rows that somebody wrote into a file after it had been claimed and read.

Appended rows go into the inbox as a file of their own, under a name that says where they
come from. What cannot be read so is said: in the log, in the status, and in a reason beside
the original. Does not know jobs.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from finetuned.files.claims import claimed_file
from finetuned.files.inbox_names import escape_name, safe_stem
from finetuned.files.late_lines import Change, change_since, cut_off, first_late_byte
from finetuned.files.rows import DatasetRow
from finetuned.files.run import read_json
from finetuned.files.writers import open_writers, surely_written
from finetuned.layout import MANIFEST
from finetuned.supervisor.context import Context

log = structlog.get_logger()


def read_late_rows(context: Context, row: DatasetRow) -> str | None:
    """
    Have rows that were appended to a claimed original read as a file of their own.

    Can be repeated: the new file's name says where its bytes begin, so it is made once,
    whatever ends the daemon meanwhile.

    Args:
        context: Shared state.
        row: Of an original that is about to go to its last place.

    Returns:
        What was or will be written to it and is read by nobody, None if there is no such thing.

    Raises:
        OSError: The file system refused; nothing is lost, call it again.
    """
    path = claimed_file(context.layout, row.key)
    if path is None:
        return None
    read = row.bytes
    change = change_since(
        path, n_bytes=read, digest=row.sha256, mtime_ns=_mtime_when_read(context, row)
    )
    if change is Change.REWRITTEN:
        return (
            f"the file was changed in place after its first {read} bytes were read; what it "
            "holds now is not trained: drop it again to have it read"
        )
    if change is Change.APPENDED:
        _cut_off_late_rows(context, row, path)
    if surely_written(os.fsencode(path)):
        writer = open_writers([os.fsencode(path)]).get(os.fsencode(path))
        return (
            f"{writer or 'somebody'} still has the file open for writing; rows written to it "
            "from now on are not read: write them to a new file"
        )
    return None


def _cut_off_late_rows(context: Context, row: DatasetRow, path: Path) -> None:
    datasets = context.journal.datasets
    start = first_late_byte(path, row.bytes)
    name = late_name(row, start)
    end = path.lstat().st_size
    target = context.layout.inbox / os.fsdecode(name)
    target.parent.mkdir(exist_ok=True)
    taken = _taken_before(context, name)
    if taken is not None:  # the daemon ended before it had noted that
        end = start + taken
    elif cut_off(path, start, end, target):
        log.info("dataset_continued", key=row.key, name=escape_name(name), bytes=end - start)
    datasets.note_size(row.key, end)


def _taken_before(context: Context, name: bytes) -> int | None:
    """Return how many bytes the file of late rows has that was made before, None if none was."""
    try:
        return (context.layout.inbox / os.fsdecode(name)).lstat().st_size
    except FileNotFoundError:
        return context.journal.datasets.size_of(name)


def late_name(row: DatasetRow, start: int) -> bytes:
    """
    Return the path below inbox/ of the rows of a claim that begin at byte *start*.
    """
    folder = os.path.dirname(row.inbox_path)
    name = f"{safe_stem(row.inbox_path)}.{row.key}-from-{start}.jsonl".encode()
    return os.path.join(folder, name) if folder else name


def _mtime_when_read(context: Context, row: DatasetRow) -> int | None:
    """Return the modification time of the original when it was read, if its dataset says so."""
    if row.dataset_id is None:
        return None
    manifest = read_json(context.layout.datasets / row.dataset_id / MANIFEST) or {}
    found = manifest.get("source_mtime_ns")
    mine = manifest.get("dataset_key") == row.key
    return found if mine and isinstance(found, int) else None
