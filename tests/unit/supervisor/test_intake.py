"""
From the inbox to claims: seen, waited for, taken once, and put right after a crash.
"""

import os
import shutil

import pytest
from structlog.testing import capture_logs

from finetuned.core.dataset_state import DatasetState
from finetuned.files.claims import claimed_file, claimed_keys
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Priority
from finetuned.supervisor.inbox import intake as module
from finetuned.supervisor.inbox.intake import BURST_SECONDS, SHOWN_PROBLEMS, Intake
from finetuned.supervisor.inbox.waiting import WaitingFile
from support.desk import configure


@pytest.fixture
def intake(context):
    configure(context, "inbox", stability_seconds=5.0, scan_seconds=30.0)
    return Intake(context)


def drop(context, *names):
    for name in names:
        (context.layout.inbox / name).write_text("{}\n")


def look(intake, now, *, woken=False, renamed=()):
    intake.look(now, woken=woken, renamed=set(renamed))


def names(context):
    return sorted(row.name for row in context.journal.datasets.in_state(DatasetState.CLAIMED))


def test_a_file_is_claimed_once_it_has_been_still_long_enough(context, intake):
    """
    Not before: somebody may still be writing it.
    """
    drop(context, "a.jsonl")
    look(intake, 100.0)
    assert (1, 0) == (intake.files_waiting, intake.stable_files)
    assert 5.0 == intake.next_due(100.0)
    intake.claim_stable()
    assert [] == names(context)
    look(intake, 105.0)
    intake.claim_stable()

    assert ["a.jsonl"] == names(context)
    assert (0, 0) == (intake.files_waiting, intake.stable_files)
    assert ["d00000001"] == claimed_keys(context.layout)


def test_a_file_that_was_renamed_into_place_need_not_wait(context, intake):
    """
    A rename delivers whole files.
    """
    drop(context, "a.jsonl", "b.jsonl")
    look(intake, 100.0, renamed=[b"b.jsonl"])
    intake.claim_stable()

    assert ["b.jsonl"] == names(context)


def test_a_burst_of_events_is_no_burst_of_scans(context, intake):
    """
    An event that came too early is remembered, and the look that it asked for comes later.
    """
    look(intake, 100.0)
    drop(context, "a.jsonl")
    look(intake, 100.0 + BURST_SECONDS / 2, woken=True)
    assert 0 == intake.files_waiting
    assert BURST_SECONDS == intake.next_due(100.0 + BURST_SECONDS / 2)
    look(intake, 100.0 + BURST_SECONDS)

    assert 1 == intake.files_waiting


def test_without_events_the_inbox_is_scanned_at_intervals(context, intake):
    """
    Events may be lost; between two scans the folders are not listed.
    """
    look(intake, 100.0)
    drop(context, "a.jsonl")
    look(intake, 129.9)
    assert 0 == intake.files_waiting
    look(intake, 130.0)

    assert 1 == intake.files_waiting


def test_the_best_priority_is_claimed_first_and_a_turn_takes_only_so_many(
    context, intake, monkeypatch
):
    """
    Thousands of files must not keep the loop from its other work; the rest needs no new scan.
    """
    monkeypatch.setattr(module, "CLAIMS_PER_TURN", 2)
    drop(context, "low/a.jsonl", "b.jsonl", "high/c.jsonl")
    paths = [b"low/a.jsonl", b"b.jsonl", b"high/c.jsonl"]
    look(intake, 100.0, renamed=paths)
    intake.claim_stable()
    assert ["b.jsonl", "c.jsonl"] == names(context)
    assert (1, 1) == (intake.files_waiting, intake.stable_files)
    intake.claim_stable()
    rows = context.journal.datasets.in_state(DatasetState.CLAIMED)

    assert [
        ("c.jsonl", b"high/c.jsonl", Priority.HIGH),
        ("b.jsonl", b"b.jsonl", Priority.NORMAL),
        ("a.jsonl", b"low/a.jsonl", Priority.LOW),
    ] == [(row.name, row.inbox_path, row.priority) for row in rows]


def test_a_file_that_changed_or_went_after_the_scan_is_not_claimed(context, intake):
    """
    Nor is there a record of it; the next scan looks again.
    """
    drop(context, "a.jsonl", "b.jsonl")
    look(intake, 100.0, renamed=[b"a.jsonl", b"b.jsonl"])
    (context.layout.inbox / "a.jsonl").write_text("{}\n{}\n")
    (context.layout.inbox / "b.jsonl").unlink()
    intake.claim_stable()

    assert set() == context.journal.datasets.keys()
    assert [] == claimed_keys(context.layout)
    assert 0 == intake.files_waiting


def test_a_refused_claim_leaves_records_of_exactly_what_was_taken(context, intake, monkeypatch):
    """
    The first file was moved, the second was not: it lies in the inbox, without a record.
    """
    drop(context, "a.jsonl", "b.jsonl")
    look(intake, 100.0, renamed=[b"a.jsonl", b"b.jsonl"])
    real = module.claim

    def refuse_second(layout, entry, key):
        if entry.path == b"b.jsonl":
            raise OSError("disk full")
        return real(layout, entry, key)

    monkeypatch.setattr(module, "claim", refuse_second)
    with pytest.raises(OSError, match="disk full"):
        intake.claim_stable()

    assert ["a.jsonl"] == names(context)
    assert (context.layout.inbox / "b.jsonl").is_file()
    monkeypatch.undo()
    look(intake, 200.0)
    intake.claim_stable()
    assert ["a.jsonl", "b.jsonl"] == names(context)


def test_an_inbox_that_is_gone_is_made_again_if_it_held_no_claim(context, intake):
    """
    Somebody removed it, or one of its folders: it is said once, and files can be dropped again.
    """
    shutil.rmtree(context.layout.inbox)
    with capture_logs() as logs:
        look(intake, 100.0)
        look(intake, 200.0)
    folders = ["inbox", *(f"inbox/{p}" for p in ("high", "normal", "low"))]
    own = ["inbox/processing", "inbox/done", "inbox/rejected"]

    assert [*folders, *own] == [entry["folder"] for entry in logs]
    assert {"folder_made_again"} == {entry["event"] for entry in logs}
    assert intake.unavailable is None
    assert intake.scanned


def test_an_inbox_on_a_disk_that_is_not_mounted_is_said_once_and_waited_for(context, intake):
    """
    Nothing is claimed, nothing is made in its place, and it is seen when it is back.
    """
    shutil.rmtree(context.layout.inbox)
    disk = context.layout.root / "disk"
    context.layout.inbox.symlink_to(disk)
    with capture_logs() as logs:
        look(intake, 100.0)
        look(intake, 200.0)
        assert intake.unavailable.startswith("inbox_unavailable: ")
        assert not intake.scanned
        assert not disk.exists()
        disk.mkdir()
        look(intake, 300.0)
    events = [entry["event"] for entry in logs]

    assert ["inbox_unavailable", "inbox_available"] == [e for e in events if "inbox_" in e]
    assert intake.unavailable is None
    assert intake.scanned
    assert context.layout.processing.is_dir()


def test_an_inbox_without_the_files_that_were_claimed_is_another_inbox(context, intake):
    """
    An empty folder below a mount point: its claims are not given up.
    """
    context.journal.datasets.add([Claim("d00000001", "a.jsonl", b"a.jsonl", Priority.NORMAL, 3)])
    shutil.rmtree(context.layout.inbox)
    context.layout.inbox.mkdir()
    look(intake, 100.0)

    assert "1 claimed files are missing" in intake.unavailable
    assert not context.layout.processing.exists()


def test_what_can_never_be_claimed_is_shown_and_logged_once(context, intake):
    """
    And is no longer shown after it was mended; a flood of them does not fill the status.
    """
    drop(context, "a.json")
    (context.layout.inbox / "link.jsonl").symlink_to("a.json")
    with capture_logs() as logs:
        look(intake, 100.0)
        look(intake, 200.0)
    assert ["a.json", "link.jsonl"] == sorted(
        problem["name"] for problem in context.board.fields["inbox_problems"]
    )
    assert ["inbox_entry_refused"] * 2 == [entry["event"] for entry in logs]
    assert 0 == intake.files_waiting
    drop(context, *(f"b{n:02}.txt" for n in range(SHOWN_PROBLEMS)))
    look(intake, 300.0)
    assert SHOWN_PROBLEMS == len(context.board.fields["inbox_problems"])
    for path in context.layout.inbox.iterdir():
        if not path.is_dir():
            path.unlink()
    look(intake, 400.0)
    assert [] == context.board.fields["inbox_problems"]


# -- files that somebody has open ------------------------------------------------


def test_a_file_that_somebody_has_open_is_not_claimed(context, intake):
    """
    Not after any time, and not if it was renamed into place: its writer may only pause. The
    status says for whom it waits, the log says it once.
    """
    drop(context, "a.jsonl", "b.jsonl")
    with (context.layout.inbox / "a.jsonl").open("a") as writer, capture_logs() as logs:
        look(intake, 100.0, renamed=[b"a.jsonl", b"b.jsonl"])
        intake.claim_stable()
        assert ["b.jsonl"] == names(context)
        look(intake, 1000.0)
        intake.claim_stable()
        assert ["b.jsonl"] == names(context)
        assert (1, 1, 0) == (intake.files_waiting, intake.files_held, intake.stable_files)
        assert 1 == [entry["event"] for entry in logs].count("dataset_waits")
        assert intake.next_due(1000.0) is None
        writer.write('{"text": "late"}\n')
    (shown,) = intake.waiting(1000.0)
    assert ("a.jsonl", os.getpid()) == (shown.name, shown.pid)
    assert f"open for writing by {shown.command} (pid {os.getpid()})" == shown.reason
    look(intake, 2000.0)
    look(intake, 2005.0)
    intake.claim_stable()

    assert ["a.jsonl", "b.jsonl"] == names(context)
    assert [] == intake.waiting(2005.0)
    assert 0 == intake.files_held


def test_a_file_that_just_changed_shows_how_long_it_must_be_still(context, intake):
    """
    A person who dropped it a moment ago sees that it was seen.
    """
    drop(context, "a.jsonl")
    look(intake, 100.0)
    reason = "unchanged for 3.0 s; it is read after 5 s without a change"

    assert [WaitingFile("a.jsonl", reason, 3.0, None, None)] == intake.waiting(103.0)


def test_a_file_that_is_written_without_a_pause_shows_its_writer_as_well(context, intake):
    """
    It is not stable, so nothing is asked before a claim; it is asked for the status.
    """
    drop(context, "a.jsonl")
    with (context.layout.inbox / "a.jsonl").open("a"):
        look(intake, 100.0)
        (shown,) = intake.waiting(100.0)
        assert os.getpid() == shown.pid
        assert 0 == intake.files_held
    look(intake, 101.0, woken=True)
    assert os.getpid() == intake.waiting(101.0)[0].pid
    look(intake, 131.0)

    assert intake.waiting(131.0)[0].pid is None


def test_what_changed_after_the_scan_is_looked_for_again_before_the_inbox_counts_as_empty(
    context, intake
):
    """
    Otherwise --until-idle would leave it behind and exit 0.
    """
    drop(context, "a.jsonl")
    look(intake, 100.0, renamed=[b"a.jsonl"])
    (context.layout.inbox / "a.jsonl").write_text("{}\n{}\n")
    assert intake.scanned
    intake.claim_stable()
    assert not intake.scanned
    look(intake, 100.0 + BURST_SECONDS)

    assert intake.scanned
    assert 1 == intake.files_waiting


def test_a_last_look_finds_what_was_dropped_since_the_scan(context, intake):
    """
    A scan may be seconds old when nothing else is left to do.
    """
    look(intake, 100.0)
    assert intake.nothing_new(101.0)
    drop(context, "a.jsonl")

    assert not intake.nothing_new(102.0)
    assert 1 == intake.files_waiting


def test_a_file_is_overdue_after_the_time_that_until_idle_waits(context, intake):
    """
    And what is left is named with its reason; so is an inbox that cannot be read.
    """
    configure(context, "inbox", until_idle_seconds=60.0, stability_seconds=5.0)
    look(intake, 100.0)
    assert not intake.is_overdue(1000.0)
    assert intake.left_behind(1000.0) is None
    drop(context, "a.jsonl")
    with (context.layout.inbox / "a.jsonl").open("a"):
        look(intake, 1000.0, woken=True)
        look(intake, 1060.0, woken=True)
        intake.claim_stable()
        assert intake.is_overdue(1060.0)
        assert not intake.is_overdue(1059.0)
        left = intake.left_behind(1060.0)
    assert left.startswith("left in the inbox and not read: a.jsonl (open for writing by ")
    assert left.endswith("; waiting 60 s)")
    shutil.rmtree(context.layout.inbox)
    context.layout.inbox.symlink_to("gone")
    look(intake, 2000.0, woken=True)
    assert not intake.is_overdue(2001.0)
    assert intake.is_overdue(2060.0)
    assert intake.left_behind(2060.0).startswith("the inbox could not be read: inbox_unavailable")


# -- recovering ----------------------------------------------------------------


def test_a_claimed_file_without_a_record_gets_one(context, intake):
    """
    With the name under which it was dropped, however strange; an empty folder is no claim.
    """
    folder = context.layout.processing
    (folder / "d00000003").mkdir()
    (folder / "d00000003" / "a%0Ab.jsonl").write_text("{}\n")
    (folder / "d00000004").mkdir()
    intake.recover()
    (row,) = context.journal.datasets.in_state(DatasetState.CLAIMED)

    assert ("d00000003", "a\\nb.jsonl", b"a\nb.jsonl", 3) == (
        row.key,
        row.name,
        row.inbox_path,
        row.bytes,
    )
    assert ["d00000003"] == claimed_keys(context.layout)


def test_a_record_without_a_file_is_forgotten(context, intake):
    """
    The end came between record and rename: the file is still in the inbox.
    """
    context.journal.datasets.add([Claim("d00000001", "a.jsonl", b"a.jsonl", Priority.NORMAL, 3)])
    intake.recover()
    intake.recover()

    assert set() == context.journal.datasets.keys()


def test_what_was_refused_reaches_its_last_place_after_a_crash(context, intake):
    """
    The verdict was recorded, the file was not moved yet.
    """
    datasets = context.journal.datasets
    drop(context, "a.jsonl", "b.jsonl")
    look(intake, 100.0, renamed=[b"a.jsonl", b"b.jsonl"])
    intake.claim_stable()
    datasets.quarantine("d00000001", "no rows")
    copy_of = datasets.get("d00000001")
    datasets.mark_duplicate("d00000002", dataset_id="a" * 16, sha256=None, of=copy_of)
    intake.recover()

    assert "inbox/rejected/a.d00000001.jsonl" == datasets.get("d00000001").final_path
    assert "inbox/done/b.d00000002.jsonl" == datasets.get("d00000002").final_path
    assert claimed_file(context.layout, "d00000001") is None


def test_what_somebody_put_into_processing_goes_back_into_the_inbox(context, intake):
    """
    A file beside the claims, or a second one in the folder of a claim, would be read by nobody.
    """
    folder = context.layout.processing
    (folder / "d00000003").mkdir()
    for name in ("d00000003/a.jsonl", "d00000003/b.jsonl", "c.jsonl", "d.jsonl"):
        (folder / name).write_text("{}\n")
    drop(context, "d.jsonl")
    with capture_logs() as logs:
        intake.recover()

    inbox = sorted(path.name for path in context.layout.inbox.glob("*.jsonl"))
    assert ["b.jsonl", "c.jsonl", "d.jsonl"] == inbox
    assert ["c.jsonl", "b.jsonl"] == [e["name"] for e in logs if e["event"] == "dataset_put_back"]
    assert ["d.jsonl"] == [path.name for path in folder.iterdir() if path.is_file()]
    assert ["a.jsonl"] == names(context)
