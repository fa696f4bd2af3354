"""
What became of dropped files, in words: one line for each, or all that is known of one.

Pure: entries of the books in, text out. Knows words; does not know terminals or the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from finetuned.cli.dataset_report import codes_of, facts_of
from finetuned.core.books import Books, Fate, RowCounts, Rows, rows_of
from finetuned.core.dataset_state import DatasetState
from finetuned.core.head import NewHead
from finetuned.core.job import JobState
from finetuned.core.line_set import LineSet
from finetuned.core.promotion import HeadCause
from finetuned.core.retry import learnt_by_then
from finetuned.core.set_aside import halves
from finetuned.core.text import printable
from finetuned.files.dataset_result import aside_stem
from finetuned.files.rows import JobRow
from finetuned.files.tables.books import Entry, Unseen
from finetuned.reports.wording import begin, shorten

NAME_CELLS = 40
"""Longest name that is shown whole in a list."""
REASON_CHARS = 160
"""Longest reason that is shown whole in a list; ``finetuned datasets KEY`` shows all of it."""
SHOWN_LINES = 20
"""Line numbers that are shown of rows that no step had; --json has all."""
LATER_ROWS = "-from-"
"""In the name of a file of later rows, after the key of the file that they were appended to."""

Command = Callable[[str], str]
"""Arguments of finetuned -> the command as a person types it for this root."""


def rows_in_words(rows: Rows, learnt_by: str | None = None) -> str:
    """
    Return the rows of one file, or of all, by what became of them; words of no row are left out.

    Args:
        rows: Of one file, or of all.
        learnt_by: The version that learnt them, if it is one.
    """
    by = f" by {learnt_by}" if learnt_by else ""
    words = (
        (rows.learnt, f"learnt{by}"),
        (rows.held_out, "held out"),
        (rows.refused, "refused"),
        (rows.not_learnt, "not learnt"),
        (rows.duplicate, "duplicate" if rows.duplicate == 1 else "duplicates"),
        (rows.waiting, "waiting"),
    )
    return ", ".join(f"{n:,} {word}" for n, word in words if n) or "no rows"


def books_in_words(books: Books) -> str:
    """
    Return one sentence about all rows that were dropped.
    """
    if not books.dropped and not books.uncounted_files:
        return "no row was dropped yet"
    text = f"{books.dropped:,} rows dropped: {rows_in_words(books.rows)}"
    if books.uncounted_files:
        n, word = books.uncounted_files, "file" if books.uncounted_files == 1 else "files"
        text += f"; {n:,} {word} not read yet, or not readable"
    if books.lost_versions:
        n, word = books.lost_versions, "version" if books.lost_versions == 1 else "versions"
        text += (
            f"; what {n:,} removed {word} learnt is not counted: the journal was made again, and "
            "no manifest was left"
        )
    if not books.balanced:
        missing = books.dropped - books.rows.total
        text += f"; THE BOOKS DO NOT BALANCE: {missing:+,} rows; please report this"
    return text


def reason_of(entry: Entry) -> str | None:
    """
    Return why rows of a file were not learnt yet, in full; None if all were.
    """
    row, job = entry.dataset, entry.job
    match entry.fate:
        case Fate.LEARNT:
            return None if entry.unseen is None else _why_in_part(entry, entry.unseen)
        case Fate.DUPLICATE:
            return f"the same bytes as {row.duplicate_of}"
        case Fate.REFUSED:
            return row.reason
        case Fate.WAITING:
            if row.state is DatasetState.CLAIMED:
                return "it is being validated"
            if job is None:
                return "it waits for a job"
            again = f" again: {job.reason}" if job.state is JobState.QUEUED and job.reason else ""
            return f"its job {job.id} is {job.state}{again}"
    return None if job is None else _why_in_vain(job, entry.left)


def _why_in_part(entry: Entry, unseen: Unseen) -> str:
    """Return why rows of a file were not learnt of which others were."""
    count = "1 row was" if entry.n_unseen == 1 else f"{entry.n_unseen:,} rows were"
    why = f"{count} in no optimizer step: {unseen.because or 'no reason is recorded'}"
    job = entry.job
    if job is None or job.version == entry.learnt_by:
        return why
    return f"{why}; {_why_in_vain(job, entry.left)}"  # they were tried again


def _why_in_vain(job: JobRow, left: NewHead | None) -> str:
    """Return why a job that is over taught the head nothing."""
    match job.state:
        case JobState.REJECTED:
            return f"{job.version} was rejected: {job.reason}"
        case JobState.FAILED:
            return f"job {job.id} failed: {job.error_message or job.reason}"
        case JobState.SKIPPED:
            reason = job.reason or "no reason is recorded"
            since = f", but since then {_how_left(left)}" if learnt_by_then(reason) else ""
            return f"job {job.id} was skipped: {reason}{since}"
    return f"{job.version} learnt it, but {_how_left(left)}"


def _how_left(left: NewHead | None) -> str:
    """Return why training does not go on from a version any more."""
    if left is None:
        return "training does not go on from it"
    to = left.version or "the base model"
    match left.cause:
        case HeadCause.ROLLBACK:
            return f"a person went back with training to {to}"
        case HeadCause.PROMOTE:
            return f"a person put {to} in use, which was not trained on top of it"
        case HeadCause.WATCH:
            return f"training went back to {to}: it failed in use, or a version below it did"
        case HeadCause.FALLBACK:
            return f"training went back to {to}: the files of the head were damaged"
    return f"training goes on from {to}, which was not trained on top of it"


def advice_of(entry: Entry, command: Command) -> str | None:
    """
    Return what a person can do about a file, None if nothing is needed.

    Args:
        entry: The file.
        command: Spells a command of this root.
    """
    row = entry.dataset
    if entry.has_unlearnt_rows:
        return command(f"retry {row.key}")
    match entry.fate:
        case Fate.REFUSED:
            _, remedy = halves(row.reason or "")
            return remedy or "correct the file and drop it again"
    return None


def line_of(
    entry: Entry, command: Command, cells: int, report: Mapping[str, object] | None = None
) -> str:
    """
    Return what became of one file in one line.

    Args:
        entry: The file.
        command: Spells a command of this root.
        cells: Width of the column of names.
        report: What its validation counted, if the reasons of single rows are wanted.
    """
    row, counts = entry.dataset, entry.dataset.counts
    name = shorten(row.name, NAME_CELLS)
    text = "rows not counted" if counts is None else _rows(entry, counts)
    if entry.fate is not Fate.REFUSED and report is not None and (codes := codes_of(report)):
        text += f"; {codes}: {command(f'datasets {row.key}')}"
    elif (reason := _found(entry)) is not None:
        text += f" ({begin(reason, REASON_CHARS)})"
    if (advice := advice_of(entry, command)) is not None:
        text += f"; {advice}"
    return f"{row.key}  {name:{cells}}  {printable(text)}"


def _rows(entry: Entry, counts: RowCounts, noun: str = " rows") -> str:
    if not counts.read:
        return "no row was read"
    noun = noun[:-1] if counts.read == 1 else noun
    rows = rows_of(entry.standing, counts, entry.n_unseen)
    return f"{counts.read:,}{noun}: {rows_in_words(rows, entry.learnt_by)}"


def _found(entry: Entry) -> str | None:
    """Return why the rows of a file were not learnt, without what to do about it."""
    reason = reason_of(entry)
    return reason if reason is None or entry.fate is not Fate.REFUSED else halves(reason)[0]


def list_of(
    entries: list[Entry],
    command: Command,
    reports: Mapping[str, Mapping[str, object] | None] | None = None,
) -> Iterator[str]:
    """
    Yield one line for each file, names in a column.

    Args:
        entries: The files.
        command: Spells a command of this root.
        reports: By key, of the files of which the reasons of single rows are wanted.
    """
    cells = max((len(shorten(entry.dataset.name, NAME_CELLS)) for entry in entries), default=0)
    for entry in entries:
        yield line_of(entry, command, cells, (reports or {}).get(entry.dataset.key))


def all_of(
    entry: Entry,
    jobs: list[JobRow],
    command: Command,
    report: Mapping[str, object] | None = None,
    later: Sequence[Entry] = (),
) -> Iterator[str]:
    """
    Yield all that is known of one file, a fact on each line.

    Args:
        entry: The file.
        jobs: Every job that it was given to, oldest first.
        command: Spells a command of this root.
        report: What its validation counted, if that is known.
        later: Files of rows that were appended to it after it was read.
    """
    row, counts = entry.dataset, entry.dataset.counts
    facts: list[tuple[str, str | None]] = [
        (row.key, f"{row.name}, {row.bytes:,} bytes, taken from inbox/ at {row.claimed_at}"),
        ("rows", "not counted" if counts is None else _rows(entry, counts, "")),
    ]
    trained = entry.fate not in (Fate.REFUSED, Fate.DUPLICATE)
    if counts is not None and counts.reserved and trained:
        facts.append(("", f"held out by earlier files or suites: {counts.reserved:,} of them"))
    facts += [("why", _found(entry)), ("to do", advice_of(entry, command))]
    if entry.unseen is not None:
        facts.append(("in no step", _lines_in_words(entry.unseen.lines)))
    if report is not None and trained:
        facts += facts_of(report)
    facts += [
        *(("job", _job_line(job)) for job in jobs),
        *(("later", f"rows appended after it was read: {_key_and_name(e)}") for e in later),
        ("original", row.final_path or "inbox/processing/, until its job is over"),
        *_line_by_line(entry),
    ]
    if entry.job is not None and entry.job.version is not None:
        facts.append(("report", command(f"report {entry.job.version}")))
    for label, text in facts:
        if text is not None:
            yield f"{label:<10} {printable(text)}"


def _lines_in_words(lines: LineSet) -> str:
    """Return the first line numbers of a set."""
    numbers = lines.lines()
    more = f" and {len(numbers) - SHOWN_LINES:,} more" if len(numbers) > SHOWN_LINES else ""
    return f"lines {', '.join(map(str, numbers[:SHOWN_LINES]))}{more}"


def _line_by_line(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield which files list the refused and the held-out rows with their line numbers."""
    row, counts = entry.dataset, entry.dataset.counts
    if counts is None or entry.fate is Fate.DUPLICATE:
        return
    if counts.refused:
        yield "refused", f"line by line: inbox/rejected/{aside_stem(row)}.rejects.jsonl"
    if counts.held_out and entry.fate is not Fate.REFUSED:
        yield "held out", f"line by line: models/datasets/{row.dataset_id}/heldout.jsonl"


def later_rows_of(entry: Entry, entries: list[Entry]) -> list[Entry]:
    """
    Return the files among *entries* of rows that were appended to *entry* after it was read.
    """
    mark = f".{entry.dataset.key}{LATER_ROWS}"
    return [other for other in entries if mark in other.dataset.name]


def _key_and_name(entry: Entry) -> str:
    return f"{entry.dataset.key}, {entry.dataset.name}"


def _job_line(job: JobRow) -> str:
    made = "" if job.version is None else f", made {job.version}"
    return f"{job.id} {job.state}{made}, {job.updated_at}"


def entry_json(entry: Entry) -> dict[str, object]:
    """
    Return one file as plain JSON.
    """
    row, counts, rows = entry.dataset, entry.dataset.counts, entry.rows
    return {
        "key": row.key,
        "name": row.name,
        "fate": entry.fate,
        "rows": None
        if rows is None or counts is None
        else {
            "dropped": counts.read,
            "learnt": rows.learnt,
            "held_out": rows.held_out,
            "refused": rows.refused,
            "not_learnt": rows.not_learnt,
            "duplicate": rows.duplicate,
            "waiting": rows.waiting,
        },
        "version": entry.learnt_by,
        "job_id": row.job_id,
        "reason": reason_of(entry),
        "unseen_lines": [] if entry.unseen is None else entry.unseen.lines.lines(),
        "claimed_at": row.claimed_at,
        "original": row.final_path,
    }
