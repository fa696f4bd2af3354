"""
The journal as a whole: durable, atomic, readable by others, refused when it is damaged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.head import NewHead
from finetuned.core.job import JobEvent, JobState, can, next_state
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.errors import InvalidTransition, ModelError
from finetuned.files.journal import Journal, Judgement
from finetuned.files.tables.scores import Trained
from finetuned.layout import Priority
from support.journals import TO_EVALUATING, add_accepted, add_job, open_journal, promote_job


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path)
    yield journal
    journal.close()


def accept(journal: Journal, job_id: str) -> None:
    journal.conclude(job_id, JobEvent.ACCEPT, version="v0001", parent=None, reason="better")


STEPS: dict[str, Callable[[Journal, str], object]] = {
    "finish": lambda journal, job_id: journal.finish_training(
        job_id, "r1", [Trained("aa", 3, 9, 2)], last_step=2
    ),
    "conclude": accept,
    "move": lambda journal, job_id: journal.jobs.move(job_id, JobEvent.ACCEPT, version="v0001"),
    "try_again": lambda journal, job_id: journal.try_again(
        job_id, "forgot", Judgement("r2", None, 1)
    ),
    "retrain": lambda journal, job_id: journal.jobs.retrain(job_id, "the incumbent changed"),
}


def content(folder: Path) -> list[str]:
    """
    Return everything in the journal, as SQL text.
    """
    with sqlite3.connect(folder / "journal.sqlite3") as db:
        return list(db.iterdump())


def test_what_is_written_survives_the_process(tmp_path: Path) -> None:
    """
    A pause, a number, a job: all there after a restart.
    """
    first = open_journal(tmp_path)
    first.settings.pause("why")
    run_id = first.runs.next_id()
    job_id = add_job(first, "d1", "aa")
    first.close()
    second = open_journal(tmp_path)

    assert "why" == second.settings.paused()
    assert ["r000001", "r000002"] == [run_id, second.runs.next_id()]
    assert JobState.QUEUED is second.jobs.get(job_id).state
    second.close()


def test_the_verdict_is_one_step(journal: Journal) -> None:
    """
    Job, version and the version in use change in one transaction.
    """
    job_id = promote_job(journal, "d1", "aa", "v0001")

    assert ("v0001", "v0001") == (journal.promotions.incumbent(), journal.heads.version())
    assert JobState.PROMOTED is journal.jobs.get(job_id).state
    assert [("v0001", None, VersionVerdict.PROMOTED, job_id)] == [
        (v.id, v.parent, v.verdict, v.job_id) for v in journal.versions.all()
    ]
    last = journal.promotions.last()
    assert last is not None
    assert PromotionCause.GATE is last.cause


def test_a_rejected_candidate_is_a_version_and_not_in_use(journal: Journal) -> None:
    """
    It can be looked at; nothing points at it.
    """
    job_id = add_job(journal, "d1", "aa")
    for event in TO_EVALUATING:
        journal.jobs.move(job_id, event)
    move = journal.conclude(job_id, JobEvent.REJECT, version="v0001", parent=None, reason="worse")

    assert (JobState.EVALUATING, JobState.REJECTED) == (move.old, move.new)
    assert (None, None) == (journal.promotions.last(), journal.heads.last())
    assert [VersionVerdict.REJECTED] == [v.verdict for v in journal.versions.all()]
    assert ("v0001", "worse") == (journal.jobs.get(job_id).version, journal.jobs.get(job_id).reason)


def test_a_held_candidate_is_the_head_and_not_in_use(journal: Journal) -> None:
    """
    What it learnt is where the next job starts; whoever uses current_model sees no change.
    """
    promote_job(journal, "d1", "aa", "v0001")
    job_id = add_job(journal, "d2", "bb")
    for event in TO_EVALUATING:
        journal.jobs.move(job_id, event)
    journal.conclude(job_id, JobEvent.HOLD, version="v0002", parent="v0001", reason="no gain")

    assert ("v0001", "v0002") == (journal.promotions.incumbent(), journal.heads.version())
    last = journal.heads.last()
    assert last is not None
    assert (HeadCause.HELD, job_id) == (last.cause, last.job_id)
    assert JobState.HELD is journal.jobs.get(job_id).state
    assert VersionVerdict.HELD is journal.versions.all()[-1].verdict


def test_head_and_release_move_in_one_step_and_a_head_that_stays_is_not_written(
    journal: Journal,
) -> None:
    """
    One decision on the release is one on the head at most.
    """
    promote_job(journal, "d1", "aa", "v0001")
    head = NewHead("v0001", HeadCause.ROLLBACK)
    journal.put_in_use(None, PromotionCause.ROLLBACK)
    journal.put_in_use(None, PromotionCause.ROLLBACK, head=head)
    last = journal.heads.last()
    assert last is not None
    assert (1, "v0001", HeadCause.PROMOTED) == (last.seq, last.version, last.cause)
    journal.put_in_use(None, PromotionCause.ROLLBACK, head=NewHead(None, HeadCause.ROLLBACK))

    assert (None, None) == (journal.promotions.incumbent(), journal.heads.version())


def test_a_finished_training_is_one_step(journal: Journal) -> None:
    """
    Job, run, and what was trained on.
    """
    job_id = add_job(journal, "d1", "aa")
    journal.jobs.move(job_id, JobEvent.START)
    move = journal.finish_training(job_id, "r1", [Trained("aa", 3, 9, 2)], last_step=2)

    assert (JobState.TRAINING, JobState.TRAINED) == (move.old, move.new)
    assert "r1" == journal.jobs.get(job_id).candidate_run
    assert [(job_id, "aa", "r1", 3)] == [
        (t.job_id, t.dataset_id, t.run_id, t.n_examples) for t in journal.scores.trained_on(job_id)
    ]


def test_what_left_a_job_before_it_began_is_not_learnt_by_its_version(journal: Journal) -> None:
    """
    The head had learnt one of two files, and then went back below that.
    """
    promote_job(journal, "d00000001", "a" * 16, "v0001")
    add_accepted(journal, "d00000002", "b" * 16)
    job_id = journal.jobs.add(Priority.NORMAL, ["d00000001", "d00000002"])
    journal.set_learnt_aside(job_id)
    journal.put_in_use(None, PromotionCause.ROLLBACK, head=NewHead(None, HeadCause.ROLLBACK))
    for event in TO_EVALUATING:
        journal.jobs.move(job_id, event)
    journal.conclude(job_id, JobEvent.HOLD, version="v0002", parent=None, reason="no gain")

    assert {"d00000002": "v0002"} == journal.books.learnt(journal.head_lineage())
    assert ["d00000001"] == list(journal.retry(["d00000001"]))


def test_a_job_that_is_trained_again_was_trained_on_what_it_has_then(journal: Journal) -> None:
    """
    A file that has left it since is not on record as learnt.
    """
    job_id = journal.jobs.add(Priority.NORMAL, ())
    for datasets in ("ab", "b"):
        journal.jobs.move(job_id, JobEvent.START)
        trained = [Trained(dataset, 3, 9, 2) for dataset in datasets]
        journal.finish_training(job_id, "r1", trained, last_step=2)
        journal.jobs.retrain(job_id, "the head changed")

    assert ["b"] == [row.dataset_id for row in journal.scores.trained_on(job_id)]


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_refused_changes_nothing(
    journal: Journal, tmp_path: Path, step: str
) -> None:
    """
    The job is in another state: not one of the tables is touched.
    """
    job_id = add_job(journal, "d1", "aa")
    before = content(tmp_path)
    with pytest.raises(InvalidTransition):
        STEPS[step](journal, job_id)

    assert before == content(tmp_path)


def test_an_error_inside_a_block_undoes_all_of_it(journal: Journal, tmp_path: Path) -> None:
    """
    Blocks nest: what an inner step had recorded goes with the outer one.
    """
    job_id = add_job(journal, "d1", "aa")
    before = content(tmp_path)

    def fail_midway() -> None:
        with journal.together():
            journal.settings.pause("soon")
            journal.jobs.move(job_id, JobEvent.START)
            promote_job(journal, "d2", "bb", "v0001")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()

    assert before == content(tmp_path)
    journal.jobs.move(job_id, JobEvent.START)  # and the next transaction is one of its own
    assert before != content(tmp_path)


def test_readers_see_the_journal_while_it_is_written(journal: Journal, tmp_path: Path) -> None:
    """
    WAL: anybody may look at any time, and sees what was committed.
    """
    reader = sqlite3.connect(tmp_path / "journal.sqlite3")
    query = "SELECT count(*) FROM settings WHERE key = 'paused'"
    with journal.together():
        journal.settings.pause("x")
        assert (0,) == reader.execute(query).fetchone()
    assert (1,) == reader.execute(query).fetchone()
    reader.close()


@pytest.mark.parametrize("harm", ["garbage", "cut"])
def test_a_corrupt_journal_is_refused(tmp_path: Path, harm: str) -> None:
    """
    It is found at the open, not in the middle of a job.
    """
    journal = open_journal(tmp_path)
    with journal.together():
        for i in range(200):
            add_accepted(journal, f"d{i}", "x" * 100)
    journal.close()
    path = tmp_path / "journal.sqlite3"
    data = path.read_bytes()
    path.write_bytes(b"garbage" * 1000 if harm == "garbage" else data[: len(data) // 2])

    with pytest.raises(ModelError, match="corrupt journal"):
        Journal(path)


@settings(deadline=None)
@given(st.lists(st.sampled_from(JobEvent), max_size=12))
def test_any_sequence_of_events_agrees_with_the_table(events: list[JobEvent]) -> None:
    """
    The journal knows no transition of its own: allowed events move the job, others leave it.
    """
    journal = Journal(Path(":memory:"))
    job_id = journal.jobs.add(Priority.NORMAL, ())
    state = JobState.QUEUED
    for event in events:
        if can(state, event):
            move = journal.jobs.move(job_id, event)
            assert (job_id, event, state) == (move.job_id, move.event, move.old)
            state = next_state(state, event)
            assert state is move.new
        else:
            with pytest.raises(InvalidTransition):
                journal.jobs.move(job_id, event)
        assert state is journal.jobs.get(job_id).state
    journal.close()
