"""
Rows of files that were read before the journal counted rows.
"""

import orjson

from finetuned.core.books import RowCounts
from finetuned.core.dataset_state import DatasetState
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Priority
from finetuned.supervisor.inbox.counts import count_rows
from finetuned.supervisor.inbox.retire import write_reason
from support.journals import add_accepted

REPORT = {
    "rows_read": 10,
    "rows_rejected": 1,
    "split": {"train_rows": 6, "heldout_rows": 2, "reserved_rows": 1},
}
COUNTS = RowCounts(read=10, refused=1, held_out=2, reserved=1, to_train=6)


def counts(context):
    return {row.key: row.counts for row in _rows(context)}


def _rows(context):
    return [entry.dataset for entry in context.journal.books.entries([])]


def test_rows_are_counted_from_the_reports_that_are_on_disk(context):
    """
    Of a dataset in its folder, of a refused file beside its original.
    """
    add_accepted(context.journal, "d00000001", "a" * 16)
    folder = context.layout.datasets / ("a" * 16)
    folder.mkdir(parents=True)
    (folder / "report.json").write_bytes(orjson.dumps(REPORT))
    context.journal.datasets.add([Claim("d00000002", "b", b"b.jsonl", Priority.NORMAL, 1)])
    context.journal.datasets.quarantine("d00000002", "bad")
    write_reason(context, "d00000002", "bad", {**REPORT, "split": None})
    count_rows(context)

    assert COUNTS == counts(context)["d00000001"]
    assert RowCounts(10, 1, 0, 0, 0) == counts(context)["d00000002"]
    books = context.journal.books.balance(list)
    assert (True, 20, 11) == (books.balanced, books.dropped, books.rows.refused)


def test_a_file_whose_report_is_gone_or_damaged_stays_uncounted(context):
    """
    The books say how many files that are, and balance without them.
    """
    add_accepted(context.journal, "d00000001", "a" * 16)
    add_accepted(context.journal, "d00000002", "b" * 16)
    folder = context.layout.datasets / ("b" * 16)
    folder.mkdir(parents=True)
    (folder / "report.json").write_bytes(b'{"rows_read": "many", "rows_rejected": []}')
    count_rows(context)
    books = context.journal.books.balance(list)

    assert {"d00000001": None, "d00000002": None} == counts(context)
    assert (True, 0, 2) == (books.balanced, books.dropped, books.uncounted_files)


def test_what_is_counted_is_not_read_again(context):
    """
    A start with ten thousand files must not open ten thousand reports.
    """
    add_accepted(context.journal, "d00000001", "a" * 16)
    context.journal.datasets.note_counts("d00000001", COUNTS)

    assert [] == context.journal.books.uncounted()
    assert DatasetState.ACCEPTED is _rows(context)[0].state
