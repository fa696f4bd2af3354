"""
Rows written into a file after it was read become a file of their own, or are named.
"""

import os
from hashlib import sha256

import orjson
import pytest
from structlog.testing import capture_logs

from finetuned.core.dataset_state import DatasetState
from finetuned.files.claims import claimed_file
from finetuned.files.tables.datasets import Claim
from finetuned.layout import MANIFEST, Priority
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.inbox.late_rows import read_late_rows
from finetuned.supervisor.inbox.retire import retire_dataset

KEY = "d00000007"
READ = b'{"text": "one"}\n'
LATE = b'{"text": "two"}\n'
NAME = f"high/my_rows.{KEY}-from-{len(READ)}.jsonl"


@pytest.fixture
def original(context):
    """
    A claimed file that was read and accepted; it was dropped as high/my rows.jsonl.
    """
    digest = sha256(READ).hexdigest()
    context.journal.datasets.add(
        [Claim(KEY, "my rows.jsonl", b"high/my rows.jsonl", Priority.HIGH, len(READ))]
    )
    context.journal.datasets.accept(
        KEY, dataset_id=digest[:16], sha256=digest, n_train=1, n_heldout=0
    )
    path = context.layout.processing / KEY / "my rows.jsonl"
    path.parent.mkdir()
    path.write_bytes(READ)
    folder = context.layout.datasets / digest[:16]
    folder.mkdir()
    manifest = {"dataset_key": KEY, "source_mtime_ns": path.stat().st_mtime_ns}
    (folder / MANIFEST).write_bytes(orjson.dumps(manifest))
    return path


def row(context):
    return context.journal.datasets.get(KEY)


def inbox(context):
    return sorted(
        str(path.relative_to(context.layout.inbox))
        for path in context.layout.inbox.rglob("*.jsonl")
        if KEY not in path.parent.name
    )


def test_a_file_that_did_not_change_is_only_moved(context, original):
    """
    The usual case: nothing is read, nothing is said.
    """
    with capture_logs() as logs:
        retire_dataset(context, KEY)

    assert [f"done/my_rows.{KEY}.jsonl"] == inbox(context)
    assert [] == logs
    assert {} == context.unread


def test_rows_that_were_appended_are_dropped_as_a_file_of_their_own(context, original):
    """
    Each row is read once: the new file begins where the reading ended. It keeps the priority.
    """
    original.write_bytes(READ + LATE)
    with capture_logs() as logs:
        retire_dataset(context, KEY)

    assert [f"done/my_rows.{KEY}.jsonl", NAME] == inbox(context)
    assert LATE == (context.layout.inbox / NAME).read_bytes()
    assert ["dataset_continued"] == [entry["event"] for entry in logs]
    assert len(READ + LATE) == row(context).bytes


def test_a_crash_between_the_steps_makes_no_row_twice(context, original):
    """
    Killed after the new file was made, with or without its being claimed since; what was
    appended meanwhile is the next part.
    """
    datasets = context.journal.datasets
    original.write_bytes(READ + LATE)
    (context.layout.inbox / NAME).write_bytes(LATE)
    assert read_late_rows(context, row(context)) is None
    assert [NAME] == inbox(context)
    assert len(READ + LATE) == row(context).bytes

    (context.layout.inbox / NAME).unlink()
    datasets.note_size(KEY, len(READ))
    datasets.add([Claim("d00000008", "x", NAME.encode(), Priority.HIGH, len(LATE))])
    assert read_late_rows(context, row(context)) is None
    assert [] == inbox(context)
    assert len(READ + LATE) == row(context).bytes


@pytest.mark.parametrize("now", [READ[:4], READ.replace(b"one", b"two"), b'{"a": 1}\n' + READ])
def test_a_file_that_was_changed_in_place_is_named(context, original, now):
    """
    What was trained is no longer in it, and what is in it would in part be trained twice. The
    log, the status and a file beside the original say so, until the original is moved away.
    """
    original.write_bytes(now)
    os.utime(original, ns=(1, 1))
    with capture_logs() as logs:
        retire_dataset(context, KEY)
    name = f"done/my_rows.{KEY}.jsonl"
    unread = orjson.loads((context.layout.done / f"my_rows.{KEY}.unread.json").read_bytes())

    assert [name] == inbox(context)
    assert "the file was changed in place" in unread["reason"]
    assert [("dataset_changed_after_read", name)] == [(e["event"], e["name"]) for e in logs]
    intake = Intake(context)
    intake.look(100.0, woken=True, renamed=set())
    shown = {"name": name, "problem": unread["reason"]}
    assert [shown] == context.board.fields["inbox_problems"]
    (context.layout.inbox / name).unlink()
    intake.look(200.0, woken=True, renamed=set())
    assert [] == context.board.fields["inbox_problems"]


def test_a_writer_who_goes_on_is_named(context, original):
    """
    What it writes from now on follows the file into done/, where nobody reads it.
    """
    with original.open("ab", buffering=0) as writer:
        writer.write(LATE)
        retire_dataset(context, KEY)

    (unread,) = context.unread.values()
    assert f"(pid {os.getpid()}) still has the file open for writing" in unread
    assert NAME in inbox(context)


def test_late_rows_of_a_refused_file_are_read_as_well(context, original):
    """
    They may be good; why the others were refused stands beside the original.
    """
    context.journal.datasets.quarantine(KEY, "no rows")
    original.write_bytes(READ + LATE)
    retire_dataset(context, KEY)

    assert DatasetState.QUARANTINED is row(context).state
    assert [NAME, f"rejected/my_rows.{KEY}.jsonl"] == inbox(context)
    assert claimed_file(context.layout, KEY) is None
