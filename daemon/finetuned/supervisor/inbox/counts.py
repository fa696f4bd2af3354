"""
Rows of files that were read before the journal counted rows, or that a rebuild brought back.

Their reports are still on disk; a file without one stays uncounted, and the books say so.
"""

from __future__ import annotations

from typing import Any

from finetuned.core.dataset_state import DatasetState
from finetuned.files.dataset_result import DATASET_REPORT, counts_of_report
from finetuned.files.inbox_names import safe_stem
from finetuned.files.rows import DatasetRow
from finetuned.files.run import read_json
from finetuned.supervisor.context import Context

FILES_AT_ONCE = 1000
"""Files whose counts are recorded in one transaction."""


def count_rows(context: Context) -> None:
    """
    Record the row counts of files that have none, from their reports. Idempotent.
    """
    journal = context.journal
    rows = journal.books.uncounted()
    for start in range(0, len(rows), FILES_AT_ONCE):
        some = rows[start : start + FILES_AT_ONCE]
        found = [(row.key, counts_of_report(_report(context, row))) for row in some]
        with journal.together():
            for key, counts in found:
                journal.datasets.note_counts(key, counts)


def _report(context: Context, row: DatasetRow) -> dict[str, Any] | None:
    layout = context.layout
    if row.state is DatasetState.QUARANTINED:
        name = f"{safe_stem(row.inbox_path)}.{row.key}.reason.json"
        return (read_json(layout.quarantine / name) or {}).get("report")
    if row.dataset_id is None:
        return None
    return read_json(layout.datasets / row.dataset_id / DATASET_REPORT)
