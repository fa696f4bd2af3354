"""
The daemon's own state in the words of the status file, the most important first.
"""

from types import SimpleNamespace

import pytest

from finetuned.core.action import StopCause
from finetuned.core.job import JobEvent, JobState
from finetuned.core.promotion import PromotionCause
from finetuned.supervisor.describe import describe, describe_job
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.runs.jobs import JobRunner
from finetuned.supervisor.status import QUEUE
from support.desk import configure
from support.journals import add_accepted, add_job, release


@pytest.fixture
def parts(context, workers):
    return JobRunner(context), Intake(context), PromotionWatch(context)


def said(context, parts, *, low_disk=None, stopping=False):
    return describe(context, *parts, low_disk=low_disk, stopping=stopping)


def word(context, parts, **more):
    found = said(context, parts, **more)
    return found["status"], found["phase"]


def test_the_phase_is_that_of_the_most_important_thing(context, parts, workers, monkeypatch):
    """
    Each of these hides all that come before it here.
    """
    jobs, intake, _ = parts
    watch = SimpleNamespace(busy=True, describe=lambda: None)
    monkeypatch.setattr(type(context), "base", lambda _: context.layout.root)
    assert ("idle", "idle") == word(context, parts)
    parts = jobs, intake, watch
    assert ("idle", "asking_canaries") == word(context, parts)
    (context.layout.inbox / "a.jsonl").write_text("{}\n")
    intake.look(100.0, woken=True, renamed={b"a.jsonl"})
    intake.claim_stable()
    intake.validation.start()
    assert ("idle", "validating") == word(context, parts)
    assert ("idle", "waiting") == word(context, parts, low_disk="disk_full: ...")
    context.journal.settings.pause("lunch")
    assert ("paused", "paused") == word(context, parts, low_disk="disk_full: ...")
    assert ("idle", "stopping") == word(context, parts, stopping=True)
    jobs.start_training(add_job(context.journal, "d00000009", "f" * 16))
    assert ("training", "starting_worker") == word(context, parts, stopping=True)
    jobs.stop(StopCause.PAUSE)
    assert ("training", "stopping (pause)") == word(context, parts, stopping=True)


def test_one_reason_is_shown_and_the_disk_comes_first(context, parts):
    """
    As long as the disk is full, nothing else could be mended by waiting.
    """
    _, intake, _ = parts
    assert said(context, parts)["waiting_reason"] is None
    intake.unavailable = "inbox_unavailable: ..."
    assert "inbox_unavailable: ..." == said(context, parts)["waiting_reason"]
    context.block("permission_denied", "models/")
    assert "permission_denied: models/" == said(context, parts)["waiting_reason"]
    assert "disk_full: ..." == said(context, parts, low_disk="disk_full: ...")["waiting_reason"]


def test_every_number_of_the_queue_is_there_from_the_beginning(context, parts):
    """
    A recipe that reads one must not fail on a new root.
    """
    assert dict.fromkeys(QUEUE, 0) == said(context, parts)["queue"]


def test_the_queue_counts_files_datasets_and_jobs(context, parts):
    """
    A dataset that has a job is no longer one that waits for a job.
    """
    _, intake, _ = parts
    add_accepted(context.journal, "d00000001", "a" * 16)
    add_job(context.journal, "d00000002", "b" * 16)
    skipped = add_job(context.journal, "d00000003", "c" * 16)
    context.journal.jobs.move(skipped, JobEvent.SKIP)
    add_accepted(context.journal, "d00000004", "d" * 16)
    context.journal.datasets.quarantine("d00000004", "no rows")
    (context.layout.inbox / "a.jsonl").write_text("{}\n")
    intake.look(100.0, woken=True, renamed=set())
    found = said(context, parts)

    expected = {"inbox": 1, "accepted": 1, "queued": 1, "skipped": 1, "quarantined": 1}
    assert dict.fromkeys(QUEUE, 0) | expected == found["queue"]
    assert 1 == found["batch_queue_size"]


def test_limits_pause_and_version_are_those_in_force(context, parts):
    """
    From the configuration and the journal, whatever the last status said.
    """
    configure(context, "data", max_length=640)
    configure(context, "evaluation", max_new_tokens=48)
    release(context.journal, "v0007", PromotionCause.PROMOTE)
    context.journal.settings.pause("lunch")
    found = said(context, parts)

    assert (640, 48, "v0007", "lunch") == (
        found["context_window"],
        found["max_output_tokens"],
        found["version"],
        found["paused_reason"],
    )


def test_the_job_that_runs_is_described_and_a_waiting_one_is_not(context, parts, workers):
    """
    With its attempts, and the first ten names of however many files.
    """
    jobs, _, _ = parts
    keys = [f"d{n:08d}" for n in range(1, 13)]
    for key in keys:
        add_accepted(context.journal, key, key[-8:] * 2)
    jobs.make_job(tuple(keys), "normal")
    assert describe_job(context, jobs) is None
    jobs.start_training("j000001")

    assert {
        "id": "j000001",
        "kind": "training",
        "state": JobState.TRAINING,
        "attempts": 0,
        "parent": None,
        "datasets": [f"{key}.jsonl" for key in keys[:10]],
        "n_datasets": 12,
    } == describe_job(context, jobs)
    assert describe_job(context, jobs) == said(context, parts)["job"]


def test_the_error_of_the_last_run_is_shown_until_the_next_one_begins(context, parts, workers):
    """
    Not cleared by time: a person may look hours later.
    """
    jobs, _, _ = parts
    context.board.update(error_type="RuntimeError", error_message="boom")
    said(context, parts)
    assert "boom" == context.board.fields["error_message"]
    jobs.start_training(add_job(context.journal, "d00000001", "a" * 16))
    said(context, parts)

    assert (None, None) == tuple(
        context.board.fields[name] for name in ("error_type", "error_message")
    )
