"""
Jobs and their workers: start, watch, stop, and hand an ended run to Endings.

Performs what core.decide decided. Does not know the inbox.
"""

from __future__ import annotations

import time
from pathlib import Path

import structlog

from finetuned.core.action import StopCause
from finetuned.core.job import JobEvent, JobKind, JobState, can
from finetuned.core.phase import Phase
from finetuned.core.run import RunOutcome
from finetuned.core.run_end import is_over, run_status, should_reassign
from finetuned.core.situation import (
    JobView,
    WorkerView,
)
from finetuned.errors import ConfigError
from finetuned.files.spec import EvaluationSpec, TrainingSpec
from finetuned.layout import Priority
from finetuned.process.spares import WaitingWorkers
from finetuned.process.wake import Wake
from finetuned.supervisor.context import Context
from finetuned.supervisor.job_moves import move_job, retrain_if_past, set_learnt_aside
from finetuned.supervisor.runs.ahead import WorkersAhead
from finetuned.supervisor.runs.beginning import JobRun, log_beginning
from finetuned.supervisor.runs.ending import Endings
from finetuned.supervisor.runs.run import SupervisedRun, spawn, start_run
from finetuned.supervisor.runs.specs import (
    check_lineage,
    evaluation_spec,
    launch_file,
    training_spec,
    with_more_rehearsal,
)

log = structlog.get_logger()

EVAL_GRACE_SECONDS = 5.0
"""Least time that a live eval may exceed its deadline; it may exceed it by half if that is more."""

END_LOOK_SECONDS = 0.05
"""Time between two looks for a run's exit record: a worker that stays sends no signal."""


class JobRunner:
    """
    Owns at most one run of a job, with its worker.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._endings = Endings(context)
        self._current: JobRun | None = None
        self._ahead = WorkersAhead(context)
        self._checkpoint_bytes = 0

    # -- what decide() needs to know ---------------------------------------------

    def view(self) -> WorkerView | None:
        """
        Return the worker that is busy, if there is one.
        """
        now = self._current
        return None if now is None else WorkerView(now.run.kind, now.job_id, now.run.asked)

    @property
    def run(self) -> SupervisedRun | None:
        """The run that goes on, None if there is none."""
        return None if self._current is None else self._current.run

    @property
    def spares(self) -> WaitingWorkers:
        """The workers that wait for a run."""
        return self._ahead.spares

    @property
    def keeps_worker(self) -> bool:
        """Whether a worker waits for a run."""
        return bool(self._ahead.spares)

    def waiting(self) -> list[JobView]:
        """
        Return the jobs that wait for a worker.
        """
        return [
            JobView(job.id, job.state, job.priority, self._endings.not_before(job.id))
            for job in self._context.journal.jobs.in_states(JobState.QUEUED, JobState.TRAINED)
        ]

    def skippable(self) -> str | None:
        """
        Return the job that a skip means now: the running one, or one interrupted before.
        """
        if self._current is not None:
            return self._current.job_id
        for job in self._context.journal.jobs.in_states(JobState.TRAINED, JobState.QUEUED):
            if job.config is not None:
                return job.id
        return None

    @property
    def worker_pid(self) -> int | None:
        """Process id of the busy worker; of rank 0, once it is known, if there are several."""
        return None if self._current is None else self._current.run.pid

    # -- starting ---------------------------------------------------------------

    def make_job(self, keys: tuple[str, ...], priority: Priority) -> None:
        """
        Queue the datasets *keys* as one job.
        """
        job_id = self._context.journal.jobs.add(priority, keys)
        log.info("job_created", job_id=job_id, datasets=list(keys[:20]), count=len(keys))

    def warm_up(self) -> None:
        """
        Start a training worker ahead of time unless one is idle.
        """
        if self._current is None:
            self._ahead.warm_up()

    def cool_down(self) -> None:
        """
        End the workers that wait for work; return when they are gone and their memory is free.
        """
        self._ahead.cool_down()

    def start_training(self, job_id: str) -> None:
        """
        Start, or go on with, the training of a queued job.

        One that was begun on another version than the head, which may be gone, begins again.

        Raises:
            ConfigError, BaseModelMissing: It cannot be started as configured;
                the job waits, no attempt is counted.
            OSError: The file system refused; likewise.
        """
        context, journal = self._context, self._context.journal
        job, head = journal.jobs.get(job_id), journal.heads.version()
        if begins_again := job.config is not None and job.parent != head:
            journal.jobs.start_over(job_id)
            log.info("job_begins_again", job_id=job_id, parent=job.parent, head=head)
        if job.config is None or begins_again:
            context.reload_config()
            if set_learnt_aside(journal, job_id):
                return
            check_lineage(context, head)
            config = with_more_rehearsal(context.config) if job.second_try else context.config
            job = journal.jobs.begin(job_id, config=config, parent=head)
        try:
            config, launch = job.resolved_config(), None
            if job.kind is not JobKind.CONSOLIDATION:  # one process merges, however many train
                launch = launch_file(context.layout.root, config.training.accelerate_config)
        except ConfigError:
            journal.jobs.forget_config(job_id)  # so that it starts with the mended one
            raise
        spec, resumed_from = training_spec(context, job, config, journal.runs.next_id())
        self._start(job_id, spec, resumed_from=resumed_from, launch=launch)

    def start_evaluation(self, job_id: str) -> None:
        """
        Start the evaluation of a trained job against the release; see retrain_if_past.

        Raises:
            OSError: The file system refused; the job stays trained.
        """
        context, journal = self._context, self._context.journal
        job = journal.jobs.get(job_id)
        if not retrain_if_past(journal, job):
            self._start(job_id, evaluation_spec(context, job, journal.runs.next_id()))

    def _start(
        self,
        job_id: str,
        spec: TrainingSpec | EvaluationSpec,
        *,
        resumed_from: str | None = None,
        launch: Path | None = None,
    ) -> None:
        if launch is not None:
            self.cool_down()  # the launched processes need the memory of every device
        run = start_run(
            self._context,
            spec,
            job_id=job_id,
            resumed_from=resumed_from,
            spares=self._ahead.spares,
            launch=launch,
            recorded=lambda: move_job(self._context.journal, job_id, JobEvent.START),
        )
        self._current = JobRun(run, job_id)
        log.info("run_started", run_id=run.id, job_id=job_id, kind=run.kind, pid=run.worker.pid)

    # -- stopping ---------------------------------------------------------------

    def stop(self, cause: StopCause) -> None:
        """
        Ask the busy worker to checkpoint and leave.
        """
        if self._current is not None:
            self._current.run.stop(cause)
            log.info("worker_stopping", run_id=self._current.run.id, cause=cause)

    def kill(self) -> None:
        """
        End every worker at once; what is in the last checkpoint is safe.
        """
        if self._current is not None:
            self._current.run.worker.kill()
        self.cool_down()

    def skip(self, job_id: str) -> None:
        """
        End a job that has no worker.
        """
        journal = self._context.journal
        if can(journal.jobs.get(job_id).state, JobEvent.SKIP):
            move_job(journal, job_id, JobEvent.SKIP, reason="skipped by command")

    # -- watching ---------------------------------------------------------------

    def wait(self, wake: Wake, seconds: float) -> None:
        """
        Wait until *wake* is set, the run leaves its exit record, or *seconds* are over.
        """
        deadline = time.monotonic() + seconds
        run = None if self._current is None else self._current.run
        known = run is None or run.has_exit_record
        while (left := deadline - time.monotonic()) > 0:
            if wake.wait(left if known else min(left, END_LOOK_SECONDS)):
                return
            if not known and run is not None and run.has_exit_record:
                return

    def poll(self) -> bool:
        """
        Take in the worker's heartbeat and, if its run is over, what that means.

        Returns:
            Whether the run is over.

        Raises:
            OSError: The file system refused; the end is taken in at a later turn.
        """
        self._ahead.spares.reap()
        now = self._current
        if now is None:
            return False
        run = now.run
        seen = run.observe()
        if (beat := run.read_heartbeat()) is not None:
            self._context.board.take_heartbeat(beat)
            log_beginning(now, beat)
            self._checkpoint_bytes = beat.checkpoint_bytes or 0
            self._ahead.look(run)
        if should_reassign(seen, reused=run.reused):
            self._replace_worker(run)
            return False
        if not is_over(seen):
            self._check_patience(run)
            return False
        self._endings.take(run, now.job_id, run_status(seen))
        self._current = None
        if seen.process is None:
            self._ahead.spares.keep(run.worker)
            return True
        run.worker.close()
        if seen.said == 0 and run.asked is None and run.may_stay:
            log.info("worker_recycled", run_id=run.id, pid=run.worker.pid)
        return True

    def _replace_worker(self, run: SupervisedRun) -> None:
        """Give a run, whose worker died while it waited, to a fresh one."""
        died = run.worker.pid
        worker = spawn(self._context, run.kind)
        log.info("worker_replaced", run_id=run.id, pid=worker.pid, died=died)
        run.give_to(worker)
        self._context.journal.runs.note_process(run.id, pid=worker.pid, pid_started=worker.started)

    @property
    def phase(self) -> Phase | None:
        """What the worker says it is doing; None without a run."""
        return None if self._current is None else self._current.run.phase

    @property
    def checkpoint_bytes(self) -> int:
        """Size of the last checkpoint, 0 before the first."""
        return self._checkpoint_bytes

    def _check_patience(self, run: SupervisedRun) -> None:
        """Kill a worker that does not stop when asked, or shows no sign of life."""
        config = self._context.config
        limit = config.supervisor.worker_stuck_seconds
        if run.phase is Phase.EVALUATING:
            timeout = config.evaluation.timeout_seconds
            limit = min(limit, timeout + max(EVAL_GRACE_SECONDS, timeout / 2))
        cause = run.kill_if_overdue(
            stuck_seconds=limit, stop_seconds=config.supervisor.worker_stop_seconds
        )
        if cause is not None:
            log.warning("worker_killed", run_id=run.id, cause=cause)

    def recover(self) -> None:
        """
        Put every job that was live when the last supervisor ended back to rest.
        """
        journal = self._context.journal
        for job in journal.jobs.in_states(JobState.TRAINING, JobState.EVALUATING):
            move_job(journal, job.id, JobEvent.INTERRUPT)
        for run in journal.runs.unfinished():
            journal.runs.end(run.id, RunOutcome.LOST)
