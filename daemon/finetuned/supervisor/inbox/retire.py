"""
Where originals end up: done/ or rejected/, with the reasons beside them.

Nothing a person dropped is ever deleted; every move can be repeated.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobState
from finetuned.files.atomic import fsync_dir, fsync_file, remove_tree, write_atomic
from finetuned.files.claims import retire
from finetuned.files.inbox_names import safe_stem
from finetuned.files.rows import JobRow
from finetuned.files.run import CANDIDATE, CHECKPOINTS
from finetuned.supervisor.context import Context
from finetuned.supervisor.corrections import deliver_corrections
from finetuned.supervisor.inbox.late_rows import read_late_rows

log = structlog.get_logger()


def label_of(context: Context, key: str) -> str:
    row = context.journal.datasets.get(key)
    return "dataset" if row is None else safe_stem(row.inbox_path)


def publish_rejects(context: Context, key: str, source: Path) -> None:
    if not source.is_file() or source.stat().st_size == 0:
        return
    folder = context.layout.quarantine
    final = folder / f"{label_of(context, key)}.{key}.rejects.jsonl"
    temporary = folder / f".{key}.rejects.tmp"
    shutil.copyfile(source, temporary)
    fsync_file(temporary)
    temporary.replace(final)
    fsync_dir(folder)


def write_reason(
    context: Context,
    key: str,
    reason: str,
    report: dict[str, Any] | None,
    *,
    folder: Path | None = None,
    kind: str = "reason",
) -> None:
    body = {"key": key, "reason": reason, "report": report}
    write_atomic(
        (folder or context.layout.quarantine) / f"{label_of(context, key)}.{key}.{kind}.json",
        orjson.dumps(body, option=orjson.OPT_INDENT_2),
    )


def retire_dataset(context: Context, key: str) -> None:
    """
    Move a claimed original to its last place and record it. Idempotent.

    Raises:
        OSError: The file system refused; recovery finishes it.
    """
    row = context.journal.datasets.get(key)
    if row is None:
        return
    layout = context.layout
    failed = row.state is DatasetState.QUARANTINED or row.reason is not None
    failed = failed and row.state is not DatasetState.DUPLICATE
    folder = layout.quarantine if failed else layout.done
    if (unread := read_late_rows(context, row)) is not None:
        write_reason(context, key, unread, None, folder=folder, kind="unread")
        name = f"{folder.name}/{label_of(context, key)}.{key}.jsonl"
        log.warning("dataset_changed_after_read", key=key, name=name, reason=unread)
        context.unread[name] = unread
    final = retire(layout, key, folder=folder, label=label_of(context, key))
    if final is not None:
        context.journal.datasets.note_place(key, str(final.relative_to(layout.root)))


def clean_runs(context: Context, job_id: str) -> None:
    """
    Remove the checkpoints and candidates of a finished job; its version has all that is kept.
    """
    for run in context.journal.runs.of_job(job_id):
        folder = context.layout.runs / run.id
        remove_tree(folder / CHECKPOINTS)
        for candidate in folder.glob(f"{CANDIDATE}*"):  # also those between parent and candidate
            remove_tree(candidate)


def retire_job(context: Context, job: JobRow) -> None:
    """
    Move the originals of a finished job to their last place. Idempotent.

    Raises:
        OSError: The file system refused; it is tried again.
    """
    journal = context.journal
    for row in journal.datasets.of_job(job.id):
        if row.state is DatasetState.RETIRED:
            continue
        if job.state is JobState.FAILED:
            reason = f"job {job.id} failed: {job.error_message or job.reason}"
            write_reason(context, row.key, reason, None)
            journal.datasets.note_failure(row.key, reason)
        retire_dataset(context, row.key)
        journal.datasets.retire(row.key)
    deliver_corrections(context, job)
    clean_runs(context, job.id)
    journal.jobs.retire(job.id)
