"""
One run of a job at a time: started from the record, stopped, taken in, never lost.
"""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from finetuned.core.action import StopCause
from finetuned.core.books import Fate
from finetuned.core.job import JobEvent, JobKind, JobState
from finetuned.core.phase import Phase
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.run import RunKind, RunOutcome
from finetuned.errors import ConfigError
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.spec import EvaluationSpec, TrainingSpec, read_spec
from finetuned.layout import Priority
from finetuned.process.wake import Wake
from finetuned.supervisor.runs import run as run_module
from finetuned.supervisor.runs.jobs import END_LOOK_SECONDS, JobRunner
from support.desk import configure
from support.journals import add_accepted, add_job, promote_job, release
from support.versions import commit


@pytest.fixture
def jobs(context, workers):
    return JobRunner(context)


@pytest.fixture
def job(context):
    return add_job(context.journal, "d00000001", "a" * 16)


def state(context, job):
    return context.journal.jobs.get(job).state


def last_run(context, job):
    return context.journal.runs.of_job(job)[-1]


def test_a_training_begins_with_what_counts_now_and_keeps_it(context, jobs, workers, job):
    """
    Version and configuration are recorded once; a later run of the job uses the same.
    """
    release(context.journal, commit(context.layout), PromotionCause.PROMOTE)
    configure(context, "training", replay_rows=7)
    jobs.start_training(job)
    assert (JobState.TRAINING, "v0001") == (
        state(context, job),
        context.journal.jobs.get(job).parent,
    )
    workers[0].finish(75)
    assert jobs.poll()
    assert JobState.QUEUED is state(context, job)
    configure(context, "training", replay_rows=8)
    jobs.start_training(job)
    spec = read_spec(workers[-1].runs[-1], TrainingSpec)

    assert (7, 2) == (spec.config.training.replay_rows, spec.attempt)
    assert context.layout.versions / "v0001" == spec.parent
    assert "r000001" == last_run(context, job).resumed_from


def test_a_job_whose_rows_the_head_has_learnt_is_skipped(context, jobs, workers):
    """
    It was queued again while the version that learnt them was out of use, and is back in use.
    """
    journal = context.journal
    promote_job(journal, "d00000001", "a" * 16, "v0001")
    release(journal, None, PromotionCause.ROLLBACK)
    again = journal.retry(["d00000001"])["d00000001"]
    release(journal, "v0001", PromotionCause.PROMOTE)
    jobs.start_training(again)

    assert (JobState.SKIPPED, "v0001 has learnt its rows already") == (
        state(context, again),
        journal.jobs.get(again).reason,
    )
    assert [] == workers


def test_a_job_trains_only_what_the_head_has_not_learnt(context, jobs, workers):
    """
    The learnt files leave it for a job that is skipped; the others are trained.
    """
    journal = context.journal
    promote_job(journal, "d00000001", "a" * 16, "v0001")
    add_accepted(journal, "d00000002", "b" * 16)
    commit(context.layout)
    job = journal.jobs.add(Priority.NORMAL, ["d00000001", "d00000002"])
    jobs.start_training(job)

    assert ["d00000002"] == [row.key for row in journal.datasets.of_job(job)]
    assert JobState.TRAINING is state(context, job)
    assert Fate.LEARNT is journal.books.entry("d00000001", journal.head_lineage()).fate


def test_an_interrupted_job_whose_head_moved_on_begins_again_on_the_head(
    context, jobs, workers, job
):
    """
    A file of a better class went before it: its parent is an old head, and may be in the trash.
    """
    journal = context.journal
    journal.heads.add(commit(context.layout, verdict="held"), HeadCause.HELD)
    jobs.start_training(job)
    workers[0].finish(75)
    assert jobs.poll()
    journal.heads.add(commit(context.layout, "v0001", verdict="held"), HeadCause.HELD)
    (context.layout.versions / "v0001").rename(context.layout.trash / "v0001-20261120T095052Z")
    jobs.start_training(job)
    spec = read_spec(workers[-1].runs[-1], TrainingSpec)

    assert context.layout.versions / "v0002" == spec.parent
    assert ((), None) == (spec.resume_from, last_run(context, job).resumed_from)
    assert (JobState.TRAINING, "v0002", 0) == (
        state(context, job),
        journal.jobs.get(job).parent,
        journal.jobs.get(job).attempts,
    )


def test_what_cannot_be_started_as_configured_waits_for_the_mended_file(
    context, jobs, workers, job
):
    """
    No attempt is counted, no worker is started, and the bad configuration is not kept.
    """
    configure(context, "training", accelerate_config="no_such.yaml")
    with pytest.raises(ConfigError, match=r"no_such\.yaml"):
        jobs.start_training(job)

    found = context.journal.jobs.get(job)
    assert (JobState.QUEUED, 0, None) == (found.state, found.attempts, found.config)
    assert [] == workers
    assert jobs.view() is None


def test_a_merge_is_done_by_one_process_however_many_train(context, jobs, workers):
    """
    The launch file is not even looked for.
    """
    release(context.journal, commit(context.layout), PromotionCause.PROMOTE)
    configure(context, "training", accelerate_config="no_such.yaml")
    job = context.journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION)
    jobs.start_training(job)

    assert not workers[0].launched
    assert JobState.TRAINING is state(context, job)


def test_before_a_launch_the_waiting_workers_are_gone(context, jobs, workers, job):
    """
    The launched processes need the memory of every device.
    """
    (context.layout.root / "two.yaml").write_text("")
    jobs.warm_up()
    configure(context, "training", accelerate_config="two.yaml")
    jobs.start_training(job)

    assert workers[0].dismissed
    assert workers[1].launched
    assert not jobs.keeps_worker


def evaluated(context, job):
    """
    Let *job* be trained on the version in use.
    """
    journal = context.journal
    journal.jobs.begin(job, config=context.config, parent=journal.promotions.incumbent())
    journal.jobs.move(job, JobEvent.START)
    journal.jobs.move(job, JobEvent.FINISH, candidate_run="r000001")


def test_a_candidate_is_asked_beside_the_version_in_use(context, jobs, workers, job):
    """
    Its folder is that of the run that left it.
    """
    evaluated(context, job)
    jobs.start_evaluation(job)
    spec = read_spec(workers[0].runs[0], EvaluationSpec)

    assert context.layout.runs / "r000001" / "candidate" == spec.candidate.folder
    assert (RunKind.EVALUATION, job, None) == (
        jobs.view().kind,
        jobs.view().job_id,
        jobs.view().stopping,
    )


def test_a_candidate_of_another_parent_is_trained_again(context, jobs, workers, job):
    """
    Somebody promoted or rolled back meanwhile: its comparison would mean nothing.
    """
    evaluated(context, job)
    release(context.journal, commit(context.layout), PromotionCause.PROMOTE)
    jobs.start_evaluation(job)
    found = context.journal.jobs.get(job)

    assert (JobState.QUEUED, None, None) == (found.state, found.config, found.parent)
    assert "the head is v0001, it was trained on None" == found.reason
    assert [] == workers


@pytest.mark.parametrize("recorded", ["{", '{"gate": {"confidence": 7}}'])
def test_a_trained_job_whose_configuration_cannot_be_read_is_trained_again(
    context, jobs, workers, job, recorded
):
    """
    It holds up no other job, it says why, and its next run begins by the configuration of today.
    """
    evaluated(context, job)
    context.journal._database.change("UPDATE jobs SET config = ?", (recorded,))
    with capture_logs() as logs:
        jobs.start_evaluation(job)
    found = context.journal.jobs.get(job)

    assert (JobState.QUEUED, None, []) == (found.state, found.config, workers)
    assert "recorded configuration" in found.reason
    assert found.reason.endswith("it is trained again by config.toml as it is now")
    assert "job_config_unreadable" in [entry["event"] for entry in logs]
    jobs.start_training(job)
    assert context.config == context.journal.jobs.get(job).resolved_config()


def test_a_job_starts_from_the_head_and_is_compared_with_the_release(context, jobs, workers, job):
    """
    What a held version learnt is not lost. If only the release changes, nothing is trained again.
    """
    journal = context.journal
    release(journal, commit(context.layout), PromotionCause.GATE)
    journal.heads.add(commit(context.layout, "v0001"), HeadCause.HELD)
    jobs.start_training(job)
    assert "v0002" == journal.jobs.get(job).parent
    assert not read_spec(workers[0].runs[-1], TrainingSpec).rolled_back
    journal.jobs.move(job, JobEvent.FINISH, candidate_run="r000001")
    journal.put_in_use(None, PromotionCause.ROLLBACK)
    jobs.start_evaluation(job)
    spec = read_spec(workers[-1].runs[-1], EvaluationSpec)

    assert (None, "v0002") == (spec.incumbent.version, spec.head.version)
    assert JobState.EVALUATING is state(context, job)


def test_jobs_that_wait_are_those_with_work_to_do(context, jobs, job):
    """
    Queued to be trained, trained to be evaluated; with the time of their next try.
    """
    second = add_job(context.journal, "d00000002", "b" * 16)
    third = add_job(context.journal, "d00000003", "c" * 16)
    evaluated(context, second)
    context.journal.jobs.move(third, JobEvent.SKIP)

    assert [(job, JobState.QUEUED, 0.0), (second, JobState.TRAINED, 0.0)] == [
        (view.id, view.state, view.not_before) for view in jobs.waiting()
    ]


def test_a_skip_means_the_running_job_or_one_that_was_begun(context, jobs, workers, job):
    """
    A job that never ran is not what a person wants to get rid of.
    """
    assert jobs.skippable() is None
    second = add_job(context.journal, "d00000002", "b" * 16)
    context.journal.jobs.begin(second, config=context.config, parent=None)
    assert second == jobs.skippable()
    jobs.start_training(job)
    assert job == jobs.skippable()
    jobs.skip(second)
    jobs.skip(second)

    assert JobState.SKIPPED is state(context, second)


@pytest.mark.parametrize(
    ("cause", "expected", "outcome"),
    [
        (StopCause.PAUSE, JobState.QUEUED, RunOutcome.INTERRUPT),
        (StopCause.SKIP, JobState.SKIPPED, RunOutcome.SKIP),
    ],
)
def test_a_worker_that_was_asked_to_stop_is_waited_for(
    context, jobs, workers, job, cause, expected, outcome
):
    """
    The job rests when its process is gone, and the stop costs no attempt.
    """
    jobs.start_training(job)
    jobs.stop(cause)
    assert (1, cause) == (workers[0].asked, jobs.view().stopping)
    assert not jobs.poll()
    workers[0].finish(75)
    assert jobs.poll()
    found = context.journal.jobs.get(job)

    assert (expected, 0) == (found.state, found.attempts)
    assert outcome is last_run(context, job).outcome
    assert jobs.view() is None
    assert not jobs.poll()


def test_a_crash_costs_an_attempt_and_the_next_try_waits(context, jobs, workers, job):
    """
    Killed without being asked: the driver, the kernel, or a bug.
    """
    configure(context, "supervisor", retry_seconds=10.0)
    jobs.start_training(job)
    workers[0].status = -9
    jobs.poll()
    found = context.journal.jobs.get(job)

    assert (JobState.QUEUED, 1, "WorkerDied") == (found.state, found.attempts, found.error_type)
    assert jobs.waiting()[0].not_before > 0


def test_a_worker_that_stays_waits_for_the_next_run(context, jobs, workers, job):
    """
    It is given that run, and no other process is started.
    """
    jobs.start_training(job)
    workers[0].finish(75, stays=True)
    assert jobs.poll()
    assert jobs.keeps_worker
    jobs.start_training(job)

    assert 1 == len(workers)
    assert 2 == len(workers[0].runs)


def test_a_worker_that_died_while_it_waited_is_replaced_and_costs_nothing(
    context, jobs, workers, job
):
    """
    It was given its run before its end was seen: the run was not tried.
    """
    jobs.warm_up()
    jobs.start_training(job)
    workers[0].status = 1
    assert not jobs.poll()

    assert workers[1].runs == workers[0].runs
    assert (workers[1].pid, None) == (last_run(context, job).pid, last_run(context, job).outcome)
    assert 0 == context.journal.jobs.get(job).attempts


def test_a_heartbeat_is_shown_and_the_choices_of_a_run_logged_once(context, jobs, workers, job):
    """
    The size of the checkpoint is remembered: the disk must hold two of them.
    """
    jobs.start_training(job)
    assert Phase.STARTING_WORKER is jobs.phase
    beat = Heartbeat(workers[0].runs[0])
    with capture_logs() as logs:
        for step in (1, 2):
            beat.beat(
                force=True,
                phase=Phase.TRAINING,
                current_step=step,
                checkpoint_bytes=123,
                ready_at="2026-11-20T09:00:00Z",
                replay=("300 rows of 1 file (a): as configured",),
            )
            assert not jobs.poll()

    assert ["training_ready"] == [entry["event"] for entry in logs]
    assert [("300 rows of 1 file (a): as configured",)] == [entry["replay"] for entry in logs]
    assert (2, 123, Phase.TRAINING) == (
        context.board.fields["current_step"],
        jobs.checkpoint_bytes,
        jobs.phase,
    )


@pytest.mark.parametrize(("phase", "after"), [(Phase.TRAINING, 101.0), (Phase.EVALUATING, 16.0)])
def test_a_worker_without_progress_is_killed_sooner_if_it_answers(
    context, jobs, workers, job, monkeypatch, phase, after
):
    """
    An eval between two steps has a deadline of its own, which it may exceed by a little.
    """
    now = [1000.0]
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    configure(context, "supervisor", worker_stuck_seconds=100.0)
    configure(context, "evaluation", timeout_seconds=10.0)
    jobs.start_training(job)
    Heartbeat(workers[0].runs[0]).beat(force=True, phase=phase)
    jobs.poll()
    now[0] += after - 1.5
    jobs.poll()
    assert workers[0].status is None
    now[0] += 1.5
    jobs.poll()

    assert -9 == workers[0].status
    assert StopCause.STUCK is jobs.view().stopping


def test_a_run_that_is_over_ends_the_wait_at_once(context, jobs, workers, job):
    """
    So does a wake-up; a run whose end is known already does not.
    """
    wake = Wake()
    wake.set()
    jobs.wait(wake, 1000.0)
    wake.clear()
    jobs.wait(wake, 0.0)
    jobs.start_training(job)

    class Ending(Wake):
        """A wake-up that nobody sets; the worker ends while it is waited for."""

        waits = 0

        def wait(self, seconds):
            assert seconds <= END_LOOK_SECONDS
            self.waits += 1
            workers[0].finish(0)
            return False

    ending = Ending()
    jobs.wait(ending, 1000.0)
    assert 1 == ending.waits


def test_after_a_crash_of_the_daemon_every_live_job_rests(context, jobs, job):
    """
    Its runs are lost, its attempts are not counted.
    """
    second = add_job(context.journal, "d00000002", "b" * 16)
    evaluated(context, second)
    for job_id in (job, second):
        context.journal.jobs.move(job_id, JobEvent.START)
        context.journal.runs.add(f"r-{job_id}", RunKind.TRAINING, job_id=job_id)
    jobs.recover()
    jobs.recover()

    assert (JobState.QUEUED, JobState.TRAINED) == (state(context, job), state(context, second))
    assert [RunOutcome.LOST] * 2 == [last_run(context, j).outcome for j in (job, second)]
    assert [] == context.journal.runs.unfinished()


def test_a_kill_ends_the_busy_worker_and_those_that_wait(context, jobs, workers, job):
    """
    The machine goes down: what is in the last checkpoint is safe.
    """
    jobs.kill()
    jobs.start_training(job)
    workers[0].finish(75, stays=True)
    jobs.poll()
    second = add_job(context.journal, "d00000002", "b" * 16)
    evaluated(context, second)
    jobs.start_evaluation(second)
    assert jobs.keeps_worker
    jobs.kill()

    assert [-9, -9] == [worker.status for worker in workers]
    assert not jobs.keeps_worker
