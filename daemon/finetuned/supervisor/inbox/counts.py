"""
Rows of files that were read before the journal counted rows, or that a rebuild brought back.

Their reports are still on disk; a file without one stays uncounted, and the books say so.
"""

from __future__ import annotations

from finetuned.files.dataset_result import counts_of_report, report_of
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
        found = [(row.key, counts_of_report(report_of(context.layout, row))) for row in some]
        with journal.together():
            for key, counts in found:
                journal.datasets.note_counts(key, counts)
