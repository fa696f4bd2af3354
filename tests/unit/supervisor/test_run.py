"""
One life for every run: recorded before a worker knows of it, limited in time, ended once.
"""

import os
import time

import pytest
import structlog

from finetuned.core.decide import StopCause
from finetuned.core.phase import Phase
from finetuned.core.run import RunKind
from finetuned.files.heartbeat import HEARTBEAT, Heartbeat
from finetuned.files.run import ERROR, EXIT, write_error
from finetuned.files.spec import RunSpec, read_spec
from finetuned.process.spares import WaitingWorkers
from finetuned.supervisor.runs.run import start_run
from support.desk import PaperWorker

LIMITS = {"stuck_seconds": 10.0, "stop_seconds": 5.0}


def spec(context, kind=RunKind.EVALUATION, **more):
    return RunSpec(kind=kind, run_id=context.journal.runs.next_id(), **more)


def later(run, seconds):
    """
    Let *seconds* pass for everything that the run remembers.
    """
    run.progress_at -= seconds
    run.asked_at -= seconds
    if run.leaving_since is not None:
        run.leaving_since -= seconds


@pytest.mark.parametrize("kind", RunKind)
def test_a_run_is_on_record_before_a_worker_knows_of_it(context, workers, kind):
    """
    No process is ever unknown: after a crash the next supervisor finds it by its row.
    """
    seen = []

    def recorded():
        (row,) = context.journal.runs.unfinished()
        seen.append((row.id, row.kind, row.pid, list(workers[0].runs)))

    run = start_run(context, spec(context, kind), recorded=recorded)

    assert [("r000001", kind, workers[0].pid, [])] == seen
    assert [run.folder] == workers[0].runs
    assert run.id == read_spec(run.folder, RunSpec).run_id


def test_if_the_job_cannot_be_moved_no_worker_is_left(context, workers):
    """
    A worker without a run would wait for ever, and nobody would end it.
    """

    def refuse():
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        start_run(context, spec(context), recorded=refuse)

    assert workers[0].dismissed
    assert [] == workers[0].runs


def test_a_worker_that_waits_is_taken_before_one_is_started(context, workers):
    """
    That is what it waits for; one of another kind is left alone.
    """
    spares = WaitingWorkers()
    idle, other = PaperWorker(RunKind.EVALUATION, pid=7), PaperWorker(RunKind.TRAINING, pid=8)
    spares.keep(idle)
    spares.keep(other)
    run = start_run(context, spec(context), spares=spares)

    assert (idle, True, []) == (run.worker, run.reused, workers)
    assert RunKind.TRAINING in spares
    assert RunKind.EVALUATION not in spares


def test_beside_a_launch_no_waiting_worker_is_used(context, workers, tmp_path):
    """
    Several processes are told their run when they start.
    """
    spares = WaitingWorkers()
    spares.keep(PaperWorker(RunKind.TRAINING, pid=8))
    run = start_run(
        context, spec(context, RunKind.TRAINING), spares=spares, launch=tmp_path / "two.yaml"
    )

    assert not run.reused
    assert run.worker.launched


def test_a_heartbeat_counts_once_and_shows_progress(context, workers):
    """
    The same beat read twice is no sign of life.
    """
    run = start_run(context, spec(context))
    assert Phase.STARTING_WORKER is run.phase
    heartbeat = Heartbeat(run.folder)
    heartbeat.beat(force=True, phase=Phase.LOADING)
    later(run, 100)
    before = run.progress_at

    assert Phase.LOADING is run.read_heartbeat().phase
    assert run.progress_at > before
    assert run.read_heartbeat() is None


def test_a_worker_without_progress_is_killed_as_stuck(context, workers):
    """
    Whatever kind of run it is: one that hangs must not block the others.
    """
    run = start_run(context, spec(context))
    assert run.kill_if_overdue(**LIMITS) is None
    later(run, 11)

    assert "no progress" == run.kill_if_overdue(**LIMITS)
    assert StopCause.STUCK is run.asked
    assert -9 == run.worker.status


def test_a_worker_that_does_not_obey_is_killed_and_the_cause_stays(context, workers):
    """
    It was asked to stop for a pause: the job is interrupted, and has not failed.
    """
    run = start_run(context, spec(context))
    run.stop(StopCause.PAUSE)
    run.stop(StopCause.STOP)
    assert 1 == run.worker.asked
    assert run.kill_if_overdue(**LIMITS) is None
    later(run, 6)

    assert "did not stop in time" == run.kill_if_overdue(**LIMITS)
    assert StopCause.PAUSE is run.asked


def test_a_worker_that_hangs_after_its_exit_record_is_killed(context, workers):
    """
    A driver that does not let go must not keep the device; the run itself ended well.
    """
    run = start_run(context, spec(context))
    run.worker.finish(0, stays=False)
    run.worker.status = None
    seen = run.observe()
    assert (0, None) == (seen.said, seen.process)
    later(run, 6)

    assert "did not leave after its run" == run.kill_if_overdue(**LIMITS)
    assert run.asked is None


def test_what_is_seen_of_a_run_is_what_its_folder_says(context, workers):
    """
    Begun or not, ended how, refused by the file system or not.
    """
    run = start_run(context, spec(context, worker_growth=2.0))
    assert run.may_stay
    assert not run.observe().taken_up
    write_error(run.folder, RuntimeError("boom"))
    assert not run.observe().refused
    run.worker.finish(0, stays=True)
    seen = run.observe()

    assert (0, True, True, None) == (seen.said, seen.stays, seen.taken_up, seen.process)
    assert run.has_exit_record


def test_a_run_can_be_given_to_a_fresh_worker(context, workers):
    """
    Its first one died while it waited; the clock of the run begins anew.
    """
    run = start_run(context, spec(context))
    run.reused = True
    later(run, 100)
    fresh = PaperWorker(RunKind.EVALUATION, pid=9)
    run.give_to(fresh)

    assert (fresh, False, [run.folder]) == (run.worker, run.reused, fresh.runs)
    assert time.monotonic() - run.progress_at < 10


def test_files_of_another_version_are_logged_once_and_the_run_still_ends(context, workers):
    """
    A program that was updated under a running daemon writes keys that the daemon does not know.
    """
    run = start_run(context, spec(context))
    for name in (HEARTBEAT, ERROR, EXIT):
        (run.folder / name).write_text('{"pid": 1, "key_of_tomorrow": 2}')
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert run.read_heartbeat() is None
            seen = run.observe()
    run.worker.status = 70

    assert (None, None) == (seen.said, seen.process)
    assert 3 == [entry["event"] for entry in logs].count("run_file_unreadable")
    assert 70 == run.observe().process


def test_a_worker_that_stays_behind_an_exit_record_nobody_can_read_is_killed_at_once(
    context, workers
):
    """
    It waits for another run and would show no progress for the longest time that is allowed.
    """
    run = start_run(context, spec(context))
    run.worker.finish(0, stays=True)
    (run.folder / EXIT).write_text('{"status": 0, "key_of_tomorrow": 2}')
    seen = run.observe()
    assert (None, None) == (seen.said, seen.process)

    assert "its exit record cannot be read" == run.kill_if_overdue(**LIMITS)
    assert -9 == run.observe().process
    assert run.asked is None


def test_a_heartbeat_that_cannot_be_read_still_shows_progress(context, workers):
    """
    What its worker does is not known, but that it goes on is.
    """
    run = start_run(context, spec(context))
    heartbeat = run.folder / HEARTBEAT
    for second in (1, 2):
        heartbeat.write_text('{"pid": 1, "key_of_tomorrow": 2}')
        os.utime(heartbeat, (second, second))
        later(run, 11)
        run.read_heartbeat()
        assert run.kill_if_overdue(**LIMITS) is None
    later(run, 11)
    run.read_heartbeat()

    assert "no progress" == run.kill_if_overdue(**LIMITS)
