"""
Every change of a job's state is in the journal and, once, in the log.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from finetuned.core.job import JobEvent, JobState
from finetuned.errors import InvalidTransition
from finetuned.files.journal import Journal, Judgement
from finetuned.files.tables.scores import Trained
from finetuned.layout import Priority
from finetuned.supervisor import job_moves
from finetuned.supervisor.job_moves import (
    conclude_job,
    finish_training,
    move_job,
    retrain,
    set_learnt_aside,
    try_again,
)
from support.journals import promote_job

MOVES: dict[str, tuple[list[JobEvent], JobEvent, Callable[[Journal, str], object]]] = {
    "move_job": (
        [],
        JobEvent.START,
        lambda journal, job_id: move_job(journal, job_id, JobEvent.START),
    ),
    "retrain": (
        [JobEvent.START, JobEvent.FINISH],
        JobEvent.RETRAIN,
        lambda journal, job_id: retrain(journal, job_id, "the incumbent changed"),
    ),
    "try_again": (
        [JobEvent.START, JobEvent.FINISH, JobEvent.START],
        JobEvent.RETRAIN,
        lambda journal, job_id: try_again(journal, job_id, "forgot", Judgement("r2", None, 1)),
    ),
    "finish_training": (
        [JobEvent.START],
        JobEvent.FINISH,
        lambda journal, job_id: finish_training(
            journal, job_id, "r1", [Trained("aa", 3, 9, 2)], last_step=2
        ),
    ),
    "conclude_job": (
        [JobEvent.START, JobEvent.FINISH, JobEvent.START],
        JobEvent.ACCEPT,
        lambda journal, job_id: conclude_job(
            journal, job_id, JobEvent.ACCEPT, version="v0001", parent=None, reason="better"
        ),
    ),
}


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal(Path(":memory:"))
    yield journal
    journal.close()


def test_every_way_of_moving_a_job_is_tested() -> None:
    """
    A new one is held to the same. In supervisor/test_jobs.py: set_learnt_aside, which needs
    rows, and retrain_if_past, which asks first.
    """
    public = {
        name
        for name, _ in inspect.getmembers(job_moves, inspect.isfunction)
        if not name.startswith("_") and inspect.getmodule(getattr(job_moves, name)) is job_moves
    }

    assert public == MOVES.keys() | {"set_learnt_aside", "retrain_if_past"}


def test_what_is_set_aside_is_logged_once(journal: Journal) -> None:
    """
    It moves a job only if the head has learnt something of it.
    """
    promote_job(journal, "d1", "a" * 16, "v0001")
    job_id = journal.jobs.add(Priority.NORMAL, ["d1"])
    with capture_logs() as logs:
        assert set_learnt_aside(journal, job_id)
        assert not set_learnt_aside(journal, journal.jobs.add(Priority.NORMAL, ()))

    said = {"job_id": job_id, "old": "queued", "new": "skipped", "cause": "skip"}
    assert [{"event": "job_state_changed", "log_level": "info", **said}] == logs


@pytest.mark.parametrize("way", MOVES)
def test_a_move_is_logged_once_with_both_states(journal: Journal, way: str) -> None:
    """
    From where, to where, and why.
    """
    before, cause, move = MOVES[way]
    job_id = journal.jobs.add(Priority.NORMAL, ())
    for event in before:
        journal.jobs.move(job_id, event)
    old = journal.jobs.get(job_id).state
    with capture_logs() as logs:
        move(journal, job_id)

    said = {"job_id": job_id, "old": old, "new": journal.jobs.get(job_id).state, "cause": cause}
    assert [{"event": "job_state_changed", "log_level": "info", **said}] == logs


@pytest.mark.parametrize("way", MOVES)
def test_a_move_that_is_refused_is_not_logged(journal: Journal, way: str) -> None:
    """
    A skipped job stays skipped, and nobody is told otherwise.
    """
    job_id = journal.jobs.add(Priority.NORMAL, ())
    journal.jobs.move(job_id, JobEvent.SKIP)
    with capture_logs() as logs, pytest.raises(InvalidTransition):
        MOVES[way][2](journal, job_id)

    assert [] == logs
    assert JobState.SKIPPED is journal.jobs.get(job_id).state
