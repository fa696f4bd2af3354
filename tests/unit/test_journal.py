import sqlite3

import pytest

from finetuned.core.job import JobEvent, JobState
from finetuned.errors import InvalidTransition, ModelError
from finetuned.files.journal import Journal


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite3")
    yield journal
    journal.close()


def add(journal, key, dataset_id, job_id=None):
    journal.add_datasets(
        [{"key": key, "name": key, "inbox_path": b"x", "priority": "normal", "bytes": 1}]
    )
    journal.update_dataset(key, state="accepted", dataset_id=dataset_id)
    if job_id:
        journal.add_job(job_id, "normal", [key])


def test_what_is_written_survives_the_process(tmp_path):
    """
    A pause, a number, a job: all there after a restart.
    """
    first = Journal(tmp_path / "j")
    first.set_paused("why")
    number = first.next_number("run")
    add(first, "d1", "aa", "j1")
    first.close()
    second = Journal(tmp_path / "j")

    assert "why" == second.paused()
    assert number + 1 == second.next_number("run")
    assert JobState.QUEUED == second.job("j1")["state"]


def test_numbers_are_never_given_twice(journal):
    """
    Not even when a folder of a higher number turns up.
    """
    assert 1 == journal.next_number("claim", count=3)
    assert 4 == journal.next_number("claim")
    assert 11 == journal.next_number("claim", floor=10)


def test_a_refused_transition_changes_nothing(journal):
    """
    State and columns move together or not at all.
    """
    add(journal, "d1", "aa", "j1")
    with pytest.raises(InvalidTransition):
        journal.move_job("j1", JobEvent.ACCEPT, version="v0001")

    assert (None, "queued") == (journal.job("j1")["version"], journal.job("j1")["state"])


def test_the_verdict_is_one_step(journal):
    """
    Job, version and incumbent change in one transaction.
    """
    add(journal, "d1", "aa", "j1")
    for event in (JobEvent.START, JobEvent.FINISH, JobEvent.START):
        journal.move_job("j1", event)
    journal.conclude("j1", JobEvent.ACCEPT, version="v0001", parent=None, reason="better")

    assert "v0001" == journal.incumbent()
    assert "promoted" == journal.job("j1")["state"]
    assert ["v0001"] == [v["id"] for v in journal.versions()]


def test_a_rejected_candidate_is_a_version_and_not_the_incumbent(journal):
    """
    It can be looked at; nothing points at it.
    """
    add(journal, "d1", "aa", "j1")
    for event in (JobEvent.START, JobEvent.FINISH, JobEvent.START):
        journal.move_job("j1", event)
    journal.conclude("j1", JobEvent.REJECT, version="v0001", parent=None, reason="worse")

    assert journal.incumbent() is None
    assert "rejected" == journal.versions()[0]["verdict"]


def test_the_same_bytes_are_found_again_unless_their_job_came_to_nothing(journal):
    """
    Dropping the bytes of a failed or skipped job again is how to ask for another try.
    """
    add(journal, "d1", "aa", "j1")

    assert "d1" == journal.find_dataset("aa", before="d2")["key"]
    journal.move_job("j1", JobEvent.SKIP)
    assert journal.find_dataset("aa", before="d2") is None


def test_readers_see_the_journal_while_it_is_written(journal):
    """
    WAL: anybody may look at any time.
    """
    reader = sqlite3.connect(journal.path)
    with journal.write() as db:
        db.execute("INSERT INTO settings VALUES ('x', '1')")
        assert 0 == reader.execute("SELECT count(*) FROM settings WHERE key = 'x'").fetchone()[0]
    assert 1 == reader.execute("SELECT count(*) FROM settings WHERE key = 'x'").fetchone()[0]
    reader.close()


@pytest.mark.parametrize("harm", ["garbage", "cut"])
def test_a_corrupt_journal_is_refused(tmp_path, harm):
    """
    It is found at the open, not in the middle of a job.
    """
    path = tmp_path / "j"
    journal = Journal(path)
    for i in range(200):
        add(journal, f"d{i}", "x" * 100)
    journal.close()
    data = path.read_bytes()
    path.write_bytes(b"garbage" * 1000 if harm == "garbage" else data[: len(data) // 2])

    with pytest.raises(ModelError, match="corrupt journal"):
        Journal(path)
