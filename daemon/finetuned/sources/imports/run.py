"""
One import, from a source to a file of rows and to the review queue.

The source is read to its end first; a source that is not whole changes nothing. Then what a
person must look at is put into the queue, in one transaction, and after it the file appears,
whole. Killed in between, the same command finishes: the queue takes no answer twice, and the
file is the same to the last byte.

Memory does not grow with the source, but for a few bytes for each row; a chat log of single
messages is held whole, since its conversations may stand between each other.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import orjson

from finetuned.core.record import from_json, to_json
from finetuned.core.review import Entry
from finetuned.errors import CannotImport
from finetuned.files.new_file import NewFile
from finetuned.files.review import ReviewQueue
from finetuned.sources.imports.checked import checked, entries_of, provenance, training_line
from finetuned.sources.imports.found import Found, FoundRow, Refusal, Source
from finetuned.sources.imports.judge import reasons_to_look
from finetuned.sources.imports.kinds import Kind
from finetuned.sources.imports.report import Report

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """
    How rows are judged.
    """

    threshold: float
    """Least confidence, 0 to 1, of a row that is trained without a person's look."""
    max_bytes: int
    """Longest row, in bytes."""
    now: str
    """RFC 3339 UTC."""
    verified_by: str | None = None
    """Who vouches for the rows whose confidence is not known; None if nobody does."""
    table: str = "ai_decisions"
    """Table of a database dump."""


def import_rows(
    kind: Kind,
    source: Path,
    target: Path,
    *,
    queue: Path,
    settings: Settings,
    on_progress: Callable[[int], object] = lambda _n: None,
) -> Report:
    """
    Write what may be trained to *target*, and queue what a person must look at.

    Args:
        kind: Of the source.
        source: A file or a folder; it is only read.
        target: The new file, in an existing folder. It may exist if it is the same.
        queue: The review queue, ``layout.imported``; it is made if it is needed.
        settings: How rows are judged.
        on_progress: Is given how many bytes of the source are read.

    Raises:
        CannotImport: The source cannot be read, is not whole, or changed meanwhile.
        CannotConvert: Its compression or its JSON is damaged.
        FileExistsError: *target* exists and has other content.
        OSError, sqlite3.Error: The disk refused, or the queue did. In each case *target* is as it
            was, and the queue too, unless only the file could not be written.
    """
    report = Report(kind.name, source)
    given = Source(source, settings.max_bytes, settings.table, on_progress)
    before = _state(source)
    with NewFile(target.parent) as new, tempfile.TemporaryFile(dir=target.parent) as waiting:
        digest = _sort(kind, kind.read(given), new.file, waiting, report, settings)
        if _state(source) != before:
            raise CannotImport(f"{source} changed while it was read; import it when it is complete")
        if report.rows_written:
            report.unchanged = _is_same(target, digest)
        if report.rows_to_review:
            queue.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(ReviewQueue(queue)) as desk:
                waiting.seek(0)
                report.answers_queued, report.answers_known = desk.enqueue(_entries(waiting))
        if report.rows_written:
            if not report.unchanged:
                new.publish(target.name)
            report.target = target
    return report


def _state(source: Path) -> tuple[int, int] | None:
    """Return what changes if a file is written; a folder is not looked at."""
    if source.is_dir():
        return None
    status = source.stat()
    return status.st_size, status.st_mtime_ns


def _sort(
    kind: Kind,
    found: Iterator[Found],
    out: IO[bytes],
    waiting: IO[bytes],
    report: Report,
    settings: Settings,
) -> str:
    """Write each row where it belongs; return the SHA-256 of what is in *out*."""
    digest, seen = hashlib.sha256(), set[bytes]()
    for item in found:
        report.rows_found += 1
        row = checked(item, max_bytes=settings.max_bytes) if isinstance(item, FoundRow) else item
        if isinstance(row, Refusal):
            report.refuse(row)
            continue
        if row.digest in seen:
            detail = "the same question with the same answer came before"
            report.refuse(Refusal(row.found.place, "repeated", detail))
            continue
        seen.add(row.digest)
        report.secrets_replaced += row.had_secrets
        reasons = reasons_to_look(
            row.found, threshold=settings.threshold, vouched=settings.verified_by is not None
        )
        origin = provenance(row.found, kind.name, settings.verified_by)
        if not reasons:
            line = training_line(row, origin)
            out.write(line)
            digest.update(line)
            report.rows_written += 1
            continue
        report.rows_to_review += 1
        report.reasons.update(reasons)
        for entry in entries_of(row, origin, reasons, settings.now):
            waiting.write(orjson.dumps(to_json(entry)) + b"\n")
    return digest.hexdigest()


def _entries(waiting: IO[bytes]) -> Iterator[Entry]:
    for line in waiting:
        yield from_json(Entry, orjson.loads(line), source="what waits for review")


def _is_same(target: Path, digest: str) -> bool:
    """
    Return whether *target* is there with this content, False if there is none.

    Raises:
        FileExistsError: It is there and has another content.
    """
    if not os.path.lexists(target):
        return False
    found = hashlib.sha256()
    with target.open("rb") as f:
        while piece := f.read(_READ_BYTES):
            found.update(piece)
    if found.hexdigest() != digest:
        raise FileExistsError(
            f"{target} exists already with other rows and is not overwritten; name another file "
            "with -o"
        )
    return True
