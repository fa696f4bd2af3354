"""
The end of a run moves its job once, whatever the file system refuses meanwhile.
"""

import sqlite3
from types import SimpleNamespace

import pytest

from finetuned.config import Config
from finetuned.core.action import StopCause
from finetuned.core.job import JobEvent, JobState
from finetuned.core.promotion import HeadCause
from finetuned.core.run import RunKind
from finetuned.errors import ModelError
from finetuned.files.journal import Journal
from finetuned.files.manifest import write_manifest
from finetuned.files.run import CANDIDATE, write_error, write_exit
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Layout, Priority
from finetuned.supervisor.context import Context, check_root
from finetuned.supervisor.runs import ending
from finetuned.supervisor.runs.ending import Endings
from finetuned.supervisor.runs.run import SupervisedRun
from finetuned.supervisor.status import StatusBoard

JOB = "j000001"


@pytest.fixture
def context(tmp_path):
    layout = Layout(tmp_path)
    check_root(layout)
    journal = Journal(layout.journal)
    journal.datasets.add([Claim("d1", "d1", b"x", Priority.NORMAL, 1)])
    assert JOB == journal.jobs.add(Priority.NORMAL, ["d1"])
    journal.jobs.begin(JOB, config=Config(), parent=None)
    journal.jobs.move(JOB, JobEvent.START)
    yield Context(layout, Config(), journal, StatusBoard(layout.status_file))
    journal.close()


def run_of(context, run_id="r1", kind=RunKind.TRAINING):
    folder = context.layout.runs / run_id
    folder.mkdir()
    context.journal.runs.add(run_id, kind, job_id=JOB)
    return SupervisedRun(run_id, kind, folder, worker=None)


def leave_candidate(run, **facts):
    folder = run.folder / CANDIDATE
    folder.mkdir()
    dataset = {"dataset_id": "aa", "n_examples": 3, "n_supervised_tokens": 9}
    write_manifest(folder, {"job_steps": 2, "planned_steps": 2, "datasets": [dataset], **facts})


def outcome(context, run_id):
    return next(r.outcome for r in context.journal.runs.of_job(JOB) if r.id == run_id)


def refuse_once(monkeypatch, context):
    end = context.journal.runs.end

    def refuse(*_, **__):
        monkeypatch.setattr(context.journal.runs, "end", end)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(context.journal.runs, "end", refuse)


@pytest.mark.parametrize(
    ("status", "state", "attempts", "said"),
    [
        (0, JobState.TRAINED, 0, "finish"),
        (75, JobState.QUEUED, 0, "interrupt"),
        (70, JobState.QUEUED, 1, "retry"),
        (65, JobState.FAILED, 1, "fail"),
    ],
)
def test_an_end_that_is_recorded_in_two_tries_moves_the_job_once(
    context, monkeypatch, status, state, attempts, said
):
    """
    The second try finishes the record; it does not judge again.
    """
    run, endings = run_of(context), Endings(context)
    leave_candidate(run)
    refuse_once(monkeypatch, context)
    with pytest.raises(sqlite3.OperationalError):
        endings.take(run, JOB, status)
    endings.take(run, JOB, status)

    job = context.journal.jobs.get(JOB)
    assert (state, attempts) == (job.state, job.attempts)
    assert said == outcome(context, "r1")


def test_a_verdict_that_was_recorded_is_not_given_again(context):
    """
    Refused after the promotion, by a backup that did not fit: the job stays promoted.
    """
    training, endings = run_of(context), Endings(context)
    leave_candidate(training)
    endings.take(training, JOB, 0)
    context.journal.jobs.move(JOB, JobEvent.START)
    context.journal.conclude(JOB, JobEvent.ACCEPT, version="v0001", parent=None, reason="ok")
    judging = run_of(context, "r2", RunKind.EVALUATION)
    endings.take(judging, JOB, 0)

    assert JobState.PROMOTED == context.journal.jobs.get(JOB).state
    assert "finish" == outcome(context, "r2")


def test_a_link_that_cannot_follow_a_verdict_costs_the_candidate_nothing(context, monkeypatch):
    """
    The verdict is on record, so that the job has not failed; the run ends at the next turn.
    """
    training, endings = run_of(context), Endings(context)
    leave_candidate(training)
    endings.take(training, JOB, 0)
    context.journal.jobs.move(JOB, JobEvent.START)

    def concluded(context, job, folder):
        context.journal.conclude(job.id, JobEvent.HOLD, version="v0001", parent=None, reason="")
        context.journal.heads.add(None, HeadCause.ROLLBACK)
        raise ModelError("v0001: a file is damaged")

    monkeypatch.setattr(ending, "read_spec", lambda *_: SimpleNamespace(incumbent=None))
    monkeypatch.setattr(ending, "conclude", concluded)
    judging = run_of(context, "r2", RunKind.EVALUATION)
    with pytest.raises(ModelError, match="a file is damaged"):
        endings.take(judging, JOB, 0)
    endings.take(judging, JOB, 0)

    found = context.journal.jobs.get(JOB)
    assert (JobState.HELD, 0, None) == (found.state, found.attempts, found.error_type)
    assert "finish" == outcome(context, "r2")


@pytest.mark.parametrize(
    "facts", [{"planned_steps": 3}, {"job_steps": 0}, {"planned_steps": None}, {"job_steps": 3}]
)
def test_a_candidate_that_is_not_the_end_of_its_job_costs_an_attempt(context, facts):
    """
    Fewer steps than planned need evidence of an early stop; none can be had with patience 0.
    """
    run = run_of(context)
    leave_candidate(run, **facts)
    Endings(context).take(run, JOB, 0)

    job = context.journal.jobs.get(JOB)
    assert (JobState.QUEUED, 1) == (job.state, job.attempts)
    assert "ModelError" == job.error_type
    assert "not the end of its job" in job.error_message


def test_a_good_end_without_a_candidate_costs_an_attempt(context):
    """
    A last word is believed about the process, and never about what lies in the folder.
    """
    run, endings = run_of(context), Endings(context)
    write_exit(run.folder, 0, stays=True)
    endings.take(run, JOB, 0)

    job = context.journal.jobs.get(JOB)
    assert (JobState.QUEUED, 1) == (job.state, job.attempts)
    assert endings.not_before(JOB) > 0


def test_a_stop_that_nobody_asked_for_is_named_as_what_it_was(context):
    """
    One of several processes died: the error is not the polite one of the process that was left.
    """
    run, endings = run_of(context), Endings(context)
    write_exit(run.folder, 75, stays=False)
    write_error(run.folder, RuntimeError("stopped at step 3 of 9: SIGTERM"))
    endings.take(run, JOB, 70)

    job = context.journal.jobs.get(JOB)
    assert "a process of the launch died" in job.error_message


def test_a_skip_ends_the_job_even_when_its_worker_had_to_be_killed(context):
    """
    What a person said no to is not tried again.
    """
    run, endings = run_of(context), Endings(context)
    run.asked = StopCause.SKIP
    endings.take(run, JOB, -9)

    assert JobState.SKIPPED == context.journal.jobs.get(JOB).state
