"""
The parts of the live page that the journal and finished folders say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from finetuned.core.dataset_state import DatasetState
from finetuned.core.promotion import PromotionCause
from finetuned.files.dataset_result import report_of
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import DatasetRow
from finetuned.files.status_file import StatusDocument
from finetuned.layout import Layout
from finetuned.reports.wording import finite
from finetuned.serving.gateway.snapshot import (
    FileRow,
    Forgetting,
    IncidentLine,
    Queue,
    VersionLine,
)

MAX_FILES = 15
MAX_WAITING = 10
MAX_MATRIX = 12
"""Rows and columns of the forgetting matrix, the newest."""

_COUNTED = (
    ("inbox", "in the inbox"),
    ("claimed", "being validated"),
    ("accepted", "validated"),
    ("queued", "jobs to be trained"),
    ("trained", "jobs to be evaluated"),
    ("promoted", "promoted"),
    ("held", "held"),
    ("rejected", "rejected"),
    ("failed", "failed"),
    ("quarantined", "files set aside"),
)


def queue(layout: Layout, journal: JournalView) -> Queue:
    """
    Return the newest files with what their validation found.
    """
    rows = journal.books.newest(MAX_FILES)
    counts = sum(journal.datasets.counts().values())
    return Queue(files=tuple(file_row(layout, row) for row in rows), n_files=counts)


def with_inbox(found: Queue, status: StatusDocument | None) -> Queue:
    """
    Return *found* with what the status says of the inbox and how many wait.
    """
    status = status or StatusDocument()
    known = status.get("queue") or {}
    counts = tuple((text, int(known[name])) for name, text in _COUNTED if known.get(name))
    waiting = tuple(
        (str(file.get("name")), str(file.get("reason")))
        for file in (status.get("inbox_waiting") or ())[:MAX_WAITING]
    )
    return Queue(counts, waiting, found.files, found.n_files)


def file_row(layout: Layout, row: DatasetRow) -> FileRow:
    """
    Return one dropped file in words.
    """
    rows = "not counted yet"
    if (counts := row.counts) is not None:
        rows = f"{counts.read:,} rows, {counts.to_train:,} to train, {counts.held_out:,} held out"
        rows += f", {counts.refused:,} refused" if counts.refused else ""
    note = row.reason
    if note is None and row.duplicate_of:
        note = f"the same bytes as {row.duplicate_of}"
    if note is None and row.state is not DatasetState.CLAIMED:
        report = report_of(layout, row) or {}
        codes = report.get("rejected")
        if isinstance(codes, dict) and codes:
            note = "refused: " + ", ".join(f"{n} {code}" for code, n in codes.items())
    return FileRow(key=row.key, name=row.name, state=row.state, rows=rows, note=note)


def versions(journal: JournalView) -> tuple[VersionLine, ...]:
    """
    Return every version, the newest first.
    """
    in_use, head = journal.promotions.incumbent(), journal.heads.version()
    jobs = {job.id: job for job in journal.jobs.in_states()}
    files: dict[str, list[str]] = defaultdict(list)
    for job_id, name in journal.jobs.file_names():
        files[job_id].append(name)
    back = taken_back(journal)
    return tuple(
        VersionLine(
            name=row.id,
            parent=row.parent,
            verdict=row.verdict,
            reason=(jobs[row.job_id].reason or "") if row.job_id in jobs else "",
            at=row.created_at,
            files=tuple(files[row.job_id or ""][:4]),
            in_use=row.id == in_use,
            head=row.id == head,
            taken_back=row.id in back,
        )
        for row in reversed(journal.versions.all())
    )


def taken_back(journal: JournalView) -> set[str]:
    """
    Return the versions that the watch took out of use.
    """
    found, before = set(), None
    for row in journal.promotions.all():
        if row.cause is PromotionCause.WATCH and before is not None:
            found.add(before)
        before = row.version
    return found


def forgetting(report: Mapping[str, Any]) -> Forgetting:
    """
    Return the newest part of the matrix of an eval report.
    """
    told = report.get("forgetting") or {}
    table = told.get("matrix") or {}
    rows = (table.get("rows") or [])[-MAX_MATRIX:]
    return Forgetting(
        tuple(str(row.get("version")) for row in rows),
        tuple(str(title) for title in (table.get("columns") or [])[-MAX_MATRIX:]),
        tuple(
            tuple(finite(value) for value in row[-MAX_MATRIX:])
            for row in (table.get("accuracy") or [])[-MAX_MATRIX:]
        ),
        finite(told.get("backward_transfer")),
    )


def incident(name: str, found: Mapping[str, object]) -> IncidentLine:
    """
    Return one report of logs/incidents/.
    """
    return IncidentLine(
        at=str(found.get("taken_back_at") or ""),
        version=str(found.get("version")),
        back_to=str(found.get("back_to") or "the base model"),
        reason=str(found.get("reason") or ""),
        file=f"logs/incidents/{name}",
    )
