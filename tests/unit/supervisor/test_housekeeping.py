"""
The rounds: at most once a second, complete, and with a word about a full disk.
"""

import shutil
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobEvent
from finetuned.files.claims import claimed_keys
from finetuned.supervisor import housekeeping
from finetuned.supervisor.housekeeping import LOOK_SECONDS, Housekeeping
from support.desk import configure
from support.journals import add_job


@pytest.fixture
def done(monkeypatch):
    """
    What the rounds did, in order, beside the disk and the originals.
    """
    found = []
    monkeypatch.setattr(housekeeping, "follow_journal", lambda _: found.append("follow"))
    monkeypatch.setattr(
        housekeeping, "consolidate_nightly", lambda _, *, idle, now: found.append(("merge", idle))
    )
    return found


@pytest.fixture
def clock(monkeypatch):
    """
    The monotonic clock, which only the test moves.
    """
    now = [1000.0]
    monkeypatch.setattr(housekeeping, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def look(keeping, *, checkpoint_bytes=0):
    return keeping.look(checkpoint_bytes=checkpoint_bytes, is_idle=lambda: True)


def test_the_rounds_are_done_at_most_once_a_second(context, done, clock):
    """
    A busy loop turns many times a second; a job that ended does not wait for the next second.
    """
    keeping = Housekeeping(context)
    assert look(keeping)
    assert not look(keeping)
    clock[0] += LOOK_SECONDS - 0.01
    assert not look(keeping)
    clock[0] += 0.01
    assert look(keeping)
    keeping.hurry()
    assert look(keeping)

    assert ["follow"] * 3 == done


def test_the_disk_must_hold_two_of_the_largest_checkpoint(context, done, clock):
    """
    A new one is written before the old one is removed; a smaller last one changes nothing.
    """
    configure(context, "supervisor", disk_reserve_bytes=0)
    keeping = Housekeeping(context)
    look(keeping)
    assert keeping.low_disk is None
    clock[0] += LOOK_SECONDS
    look(keeping, checkpoint_bytes=2**60)
    shortage = keeping.low_disk
    assert shortage.startswith("disk_full: ")
    assert shortage.endswith(f"{2**61 >> 20} MiB needed")
    clock[0] += LOOK_SECONDS
    look(keeping, checkpoint_bytes=1)

    assert f"{2**61 >> 20} MiB needed" in keeping.low_disk


def test_the_reserve_is_kept_free_for_the_rest_of_the_machine(context, done, clock):
    """
    Without any checkpoint as well.
    """
    configure(context, "supervisor", disk_reserve_bytes=2**60)
    keeping = Housekeeping(context)
    look(keeping)

    assert f"{2**60 >> 20} MiB needed" in keeping.low_disk


def test_whether_the_daemon_is_idle_is_asked_only_if_merges_have_a_time(context, done, clock):
    """
    The answer needs queries; most roots never merge at night.
    """
    asked = []
    keeping = Housekeeping(context)
    keeping.look(checkpoint_bytes=0, is_idle=lambda: asked.append(1))
    assert [] == asked
    configure(context, "registry", consolidate_at="03:00")
    keeping.hurry()
    look(keeping)

    assert ["follow", "follow", ("merge", True)] == done


def test_originals_of_finished_jobs_go_to_their_last_place(context, done, clock):
    """
    Those of a job that still waits stay where they are.
    """
    keys = ("d00000001", "d00000002")
    first, _ = (add_job(context.journal, key, key[-2:] * 8) for key in keys)
    for key in keys:
        (context.layout.processing / key).mkdir()
        (context.layout.processing / key / "a.jsonl").write_text("{}\n")
    context.journal.jobs.move(first, JobEvent.SKIP)
    look(Housekeeping(context))

    assert [keys[1]] == claimed_keys(context.layout)
    assert DatasetState.RETIRED is context.journal.datasets.get(keys[0]).state
    assert [] == context.journal.jobs.unretired()


def test_what_was_refused_is_tried_at_the_next_look_and_not_at_once(
    context, done, clock, monkeypatch
):
    """
    A full disk must not make the loop spin.
    """
    keeping = Housekeeping(context)

    def refuse(_):
        raise OSError("disk full")

    monkeypatch.setattr(housekeeping, "follow_journal", refuse)
    with pytest.raises(OSError, match="disk full"):
        look(keeping)
    assert not look(keeping)
    clock[0] += LOOK_SECONDS
    with pytest.raises(OSError, match="disk full"):
        look(keeping)


def test_folders_that_somebody_removed_are_made_again(context, done, clock):
    """
    Orders, log and status work again within a second; a root that is gone is not made.
    """
    layout = context.layout
    removed = (layout.control, layout.logs, layout.status_file.parent)
    for folder in removed:
        shutil.rmtree(folder)
    with capture_logs() as logs:
        look(Housekeeping(context))

    assert all(folder.is_dir() for folder in (*removed, layout.acks))
    made = ["control", "control/ack", "logs", "status"]
    assert made == [e["folder"] for e in logs if e["event"] == "folder_made_again"]
