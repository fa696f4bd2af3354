"""
The part of the live page on dropped files: what waits, what came in last, what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobState
from finetuned.files.dataset_result import report_of
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import DatasetRow, JobRow
from finetuned.files.status_file import StatusDocument
from finetuned.layout import Layout
from finetuned.serving.gateway.snapshot import FileRow, Queue

MAX_FILES = 12
MAX_WAITING = 10

Words = tuple[tuple[str, str], ...]

_WAITING: Final[Words] = (
    ("inbox", "in the inbox"),
    ("claimed", "being validated"),
    ("accepted", "validated"),
    ("queued", "to be trained"),
    ("trained", "to be evaluated"),
)
_ENDED: Final[Words] = tuple(
    (word, word) for word in ("promoted", "held", "rejected", "skipped", "failed")
)
_ASIDE: Final[Words] = (("quarantined", "set aside"), ("duplicate", "dropped before"))
"""Fields of the status' queue -> what a person reads, as on the screen of finetuned status."""

_OF_THE_FILE: Final[Mapping[DatasetState, str]] = {
    DatasetState.CLAIMED: "being validated",
    DatasetState.ACCEPTED: "validated",
    DatasetState.DUPLICATE: "dropped before",
    DatasetState.QUARANTINED: "set aside",
}
_OF_ITS_JOB: Final[Mapping[JobState, str]] = {
    JobState.QUEUED: "waits for training",
    JobState.TRAINING: "in training",
    JobState.TRAINED: "waits for evaluation",
    JobState.EVALUATING: "in evaluation",
}


def queue(layout: Layout, journal: JournalView) -> Queue:
    """
    Return the newest files with what became of them.
    """
    rows = journal.books.newest(MAX_FILES)
    files = [file_row(layout, row, journal.jobs.of_dataset(row.key)) for row in rows]
    return Queue(files=tuple(files), n_files=sum(journal.datasets.counts().values()))


def with_inbox(found: Queue, status: StatusDocument | None) -> Queue:
    """
    Return *found* with what the status says of the inbox and how many wait.
    """
    status = status or StatusDocument()
    known = status.get("queue") or {}

    def counted(words: Words) -> tuple[tuple[str, int], ...]:
        return tuple((text, int(known[name])) for name, text in words if known.get(name))

    waiting = tuple(
        (str(file.get("name")), str(file.get("reason")))
        for file in (status.get("inbox_waiting") or ())[:MAX_WAITING]
    )
    return Queue(
        counts=counted(_WAITING),
        jobs=counted(_ENDED),
        aside=counted(_ASIDE),
        waiting=waiting,
        files=found.files,
        n_files=found.n_files,
    )


def file_row(layout: Layout, row: DatasetRow, jobs: list[JobRow]) -> FileRow:
    """
    Return one dropped file in words.

    Args:
        layout: Of the root.
        row: The file.
        jobs: That it was given to, oldest first.
    """
    job = jobs[-1] if jobs else None
    return FileRow(
        key=row.key,
        name=row.name,
        state=_state(row, job),
        version=None if job is None else job.version,
        rows=_rows(row),
        note=_note(layout, row, job),
    )


def _state(row: DatasetRow, job: JobRow | None) -> str:
    if job is not None:
        return _OF_ITS_JOB.get(job.state, str(job.state))
    if row.state is DatasetState.RETIRED:  # without a job it came to nothing
        return "dropped before" if row.duplicate_of else "set aside"
    return _OF_THE_FILE[row.state]


def _rows(row: DatasetRow) -> str:
    counts = row.counts
    if counts is None:
        return "not counted" if row.reason else "not counted yet"
    if counts.read == 0:
        return "no rows"
    text = f"{counts.read:,} rows: {counts.to_train:,} to train, {counts.held_out:,} held out"
    return text + (f", {counts.refused:,} refused" if counts.refused else "")


def _note(layout: Layout, row: DatasetRow, job: JobRow | None) -> str | None:
    """Return what a person should know: why it came to nothing, or what was refused of it."""
    if row.reason is not None:
        return row.reason
    if job is not None and job.state is JobState.FAILED:
        return job.error_message or job.reason
    if row.duplicate_of:
        return f"the same bytes as {row.duplicate_of}"
    if row.state is DatasetState.CLAIMED:
        return None
    codes = (report_of(layout, row) or {}).get("rejected")
    if isinstance(codes, dict) and codes:
        return "refused: " + ", ".join(f"{n} {code}" for code, n in codes.items())
    return None
