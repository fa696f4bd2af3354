"""
Jobs and their workers: start, watch, stop, and hand what ended to its judge.

Performs what core.decide decided. Does not know the inbox.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.core.decide import JobView, StopCause, WorkerView
from finetuned.core.job import JobEvent, JobKind, JobState, can
from finetuned.core.run_end import Foresight, foresee, is_over, run_status, should_reassign
from finetuned.errors import ConfigError
from finetuned.files.journal import dump_config
from finetuned.files.run import OUTPUT, create_run, utc_now
from finetuned.process.child import WorkerProcess
from finetuned.process.launch import Launch
from finetuned.process.spares import WaitingWorkers
from finetuned.process.worker import WORKER_GROWTH
from finetuned.supervisor.context import Context
from finetuned.supervisor.runs.ending import Endings, move_job, retrain
from finetuned.supervisor.runs.live_run import LiveRun
from finetuned.supervisor.runs.specs import (
    check_lineage,
    evaluation_spec,
    launch_file,
    training_spec,
)

log = structlog.get_logger()

EVAL_GRACE_SECONDS = 5.0
"""How far past its deadline, or half of it more, a live eval may be before its worker is killed."""

END_LOOK_SECONDS = 0.05
"""Time between two looks for a run's last word: a worker that stays sends no signal."""


class JobRunner:
    """
    Owns at most one run with its worker, and at most one worker of each kind that waits.

    A training worker keeps waiting while its candidate is evaluated beside it, an
    evaluation worker while the next file is trained.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._endings = Endings(context)
        self._run: LiveRun | None = None
        self._waiting = WaitingWorkers()
        self._warm_not_before = 0.0  # one that dies at once is not started at every turn
        self._checkpoint_bytes = 0

    # -- what decide() needs to know ---------------------------------------------

    def view(self) -> WorkerView | None:
        """
        Return the worker that is busy, if there is one.
        """
        if self._run is None:
            return None
        return WorkerView(self._run.kind, self._run.job_id, self._run.asked)

    @property
    def keeps_worker(self) -> bool:
        """Whether a worker waits for a run."""
        return bool(self._waiting)

    def waiting(self) -> list[JobView]:
        """
        Return the jobs that wait for a worker.
        """
        return [
            JobView(
                job["id"],
                JobState(job["state"]),
                job["priority"],
                self._endings.not_before(job["id"]),
            )
            for job in self._context.journal.jobs(JobState.QUEUED, JobState.TRAINED)
        ]

    def skippable(self) -> str | None:
        """
        Return the job that a skip means now: the running one, or one interrupted before.
        """
        if self._run is not None:
            return self._run.job_id
        for job in self._context.journal.jobs(JobState.TRAINED, JobState.QUEUED):
            if job["config"] is not None:
                return str(job["id"])
        return None

    @property
    def worker_pid(self) -> int | None:
        """Process id of the busy worker; of rank 0, once it is known, where there are several."""
        run = self._run
        return None if run is None else int(run.beat.get("pid") or run.worker.pid)

    # -- starting ---------------------------------------------------------------

    def make_job(self, keys: tuple[str, ...], priority: str) -> None:
        """
        Queue the datasets *keys* as one job.
        """
        job_id = f"j{self._context.journal.next_number('job'):06d}"
        self._context.journal.add_job(job_id, priority, keys)
        log.info("job_created", job_id=job_id, datasets=list(keys[:20]), count=len(keys))

    def warm_up(self) -> None:
        """
        See to it that a training worker waits, with its imports done, when work comes.
        """
        now = time.monotonic()
        if self._context.config.training.accelerate_config:
            return  # what is launched is told its run at birth
        if "training" in self._waiting or self._run is not None or now < self._warm_not_before:
            return
        self._warm_not_before = now + self._context.config.supervisor.retry_seconds
        self._start_ahead("training")

    def _start_ahead(self, kind: str) -> None:
        worker = self._spawn(kind)
        self._waiting.keep(worker)
        log.debug("worker_warmed_up", kind=kind, pid=worker.pid)

    def cool_down(self) -> None:
        """
        End the workers that wait for work; return when they are gone and their memory is free.
        """
        self._waiting.dismiss()

    def start_training(self, job_id: str) -> None:
        """
        Start, or go on with, the training of a queued job.

        Raises:
            ConfigError, BaseModelMissing: It cannot be started as configured;
                the job waits, no attempt is counted.
            OSError: The file system refused; likewise.
        """
        context, journal = self._context, self._context.journal
        job = journal.job(job_id)
        if job["config"] is None:
            context.reload_config()
            parent = journal.incumbent()
            check_lineage(context, parent)
            journal.update_job(job_id, config=dump_config(context.config.as_dict()), parent=parent)
            job = journal.job(job_id)
        try:
            launch = None
            if job["kind"] != JobKind.CONSOLIDATION:  # one process merges, however many train
                launch = launch_file(context.layout.root, orjson.loads(job["config"]))
        except ConfigError:
            journal.update_job(job_id, config=None)  # so that it starts with the mended one
            raise
        spec, resumed_from = training_spec(context, job)
        self._start("training", job_id, spec, resumed_from=resumed_from, launch=launch)

    def start_evaluation(self, job_id: str) -> None:
        """
        Start the evaluation of a trained job against the incumbent.

        Raises:
            OSError: The file system refused; the job stays trained.
        """
        context, journal = self._context, self._context.journal
        job = journal.job(job_id)
        incumbent = journal.incumbent()
        if incumbent != job["parent"]:
            reason = f"the incumbent is {incumbent}, it was trained on {job['parent']}"
            retrain(context, job_id, reason)
            return
        self._start("evaluation", job_id, evaluation_spec(context, job), resumed_from=None)

    def _start(
        self,
        kind: str,
        job_id: str,
        spec: dict[str, Any],
        *,
        resumed_from: str | None,
        launch: Path | None = None,
    ) -> None:
        context, journal = self._context, self._context.journal
        run_id = f"r{journal.next_number('run'):06d}"
        run_dir = context.layout.runs / run_id
        create_run(run_dir, {"kind": kind, "run_id": run_id, "job_id": job_id, **spec})
        worker = None
        if launch is not None:
            self.cool_down()  # several processes want the device, and none of them is this one
        else:
            worker = self._waiting.take(kind)
        reused = worker is not None
        if worker is None:
            worker = self._spawn(kind, launch=launch, run_dir=run_dir)
        try:
            journal.add_run(run_id, kind, job_id, resumed_from)
            journal.update_run(run_id, pid=worker.pid, pid_started=worker.started)
            move_job(context, job_id, JobEvent.START)
        except BaseException:
            worker.dismiss()  # no run, so nobody else would ever end it
            raise
        worker.assign(run_dir)
        self._run = LiveRun(
            run_id, job_id, kind, run_dir, worker, reused, may_stay=WORKER_GROWTH in spec
        )
        log.info("run_started", run_id=run_id, job_id=job_id, kind=kind, pid=worker.pid)

    def _spawn(
        self, kind: str, *, launch: Path | None = None, run_dir: Path | None = None
    ) -> WorkerProcess:
        layout, log_file = self._context.layout, self._context.layout.logs / "workers.log"
        if launch is None or run_dir is None:
            return WorkerProcess(kind, cwd=layout.root, log=log_file)
        grace = self._context.config.supervisor.worker_stop_seconds
        return WorkerProcess(
            kind,
            cwd=layout.root,
            log=run_dir / OUTPUT,
            launch=Launch(launch, run_dir, grace),
        )

    # -- stopping ---------------------------------------------------------------

    def stop(self, cause: StopCause) -> None:
        """
        Ask the busy worker to checkpoint and leave.
        """
        if self._run is not None:
            self._run.ask(cause)
            self._run.worker.stop()
            log.info("worker_stopping", run_id=self._run.id, cause=cause)

    def kill(self) -> None:
        """
        End every worker at once; what is in the last checkpoint is safe.
        """
        if self._run is not None:
            self._run.worker.kill()
        self.cool_down()

    def skip(self, job_id: str) -> None:
        """
        End a job that has no worker.
        """
        if can(JobState(self._context.journal.job(job_id)["state"]), JobEvent.SKIP):
            move_job(self._context, job_id, JobEvent.SKIP, reason="skipped by command")

    # -- watching ---------------------------------------------------------------

    def wait(self, wake: threading.Event, seconds: float) -> None:
        """
        Wait until *wake* is set, the run says its last word, or *seconds* are over.
        """
        deadline = time.monotonic() + seconds
        known = self._run is None or self._run.has_last_word
        while (left := deadline - time.monotonic()) > 0:
            if wake.wait(left if known else min(left, END_LOOK_SECONDS)):
                return
            if not known and self._run is not None and self._run.has_last_word:
                return

    def _log_ready(self, run: LiveRun) -> None:
        """Log once how a run trains: what was chosen and refused, and why anything was reset."""
        if run.ready_logged or "ready_at" not in run.beat:
            return
        run.ready_logged = True
        names = ("optimizer_state", "warm_up", "kernels", "precision", "max_batch_tokens")
        about = {name: run.beat.get(name) for name in (*names, "kernels_timed", "kernels_refused")}
        log.info("training_ready", run_id=run.id, job_id=run.job_id, **about)

    def poll(self) -> bool:
        """
        Take in the worker's heartbeat and, if its run is over, what that means.

        Returns:
            Whether the run is over.

        Raises:
            OSError: The file system refused; the end is taken in at a later turn.
        """
        self._waiting.reap()
        run = self._run
        if run is None:
            return False
        signs = run.signs()
        if run.take_beat():
            self._context.board.take_heartbeat(run.beat)
            self._log_ready(run)
            self._checkpoint_bytes = int(run.beat.get("checkpoint_bytes") or 0)
            self._look_ahead(run)
        if should_reassign(signs, reused=run.reused):
            self._replace_worker(run)
            return False
        if not is_over(signs):
            self._check_patience(run)
            return False
        self._endings.take(run, run_status(signs))
        self._run = None
        if signs.process is None:
            self._waiting.keep(run.worker)
            return True
        run.worker.close()
        if signs.said == 0 and run.asked is None and run.may_stay:
            log.info("worker_recycled", run_id=run.id, pid=run.worker.pid)
        return True

    def _look_ahead(self, run: LiveRun) -> None:
        """Have the evaluation's worker do its imports beside the last steps of a training."""
        if run.kind != "training" or run.asked is not None or run.worker.launched:
            return
        seconds = self._context.config.supervisor.warm_worker_seconds
        match foresee(run.beat.get("eta_seconds"), warm_seconds=seconds):
            case _ if run.next_worker_started:
                pass  # once: what dies of it is not started again at every beat
            case Foresight.SOON:
                run.next_worker_started = True
                if "evaluation" not in self._waiting:
                    self._start_ahead("evaluation")
            case Foresight.FAR:
                self._waiting.dismiss("evaluation")

    def _replace_worker(self, run: LiveRun) -> None:
        """Give a run, whose worker died while it waited, to a fresh one."""
        worker = self._spawn(run.kind)
        log.info("worker_replaced", run_id=run.id, pid=worker.pid, died=run.worker.pid)
        run.worker.close()
        run.worker, run.reused, run.progress_at = worker, False, time.monotonic()
        worker.assign(run.folder)
        self._context.journal.update_run(run.id, pid=worker.pid, pid_started=worker.started)

    @property
    def phase(self) -> str | None:
        """What the worker says it is doing."""
        return self._run.beat.get("phase", "starting_worker") if self._run is not None else None

    @property
    def checkpoint_bytes(self) -> int:
        """Size of the last checkpoint, 0 before the first."""
        return self._checkpoint_bytes

    def _check_patience(self, run: LiveRun) -> None:
        """Kill a worker that does not stop when asked, or shows no sign of life."""
        config = self._context.config
        limit = config.supervisor.worker_stuck_seconds
        if run.beat.get("phase") == "evaluating":
            timeout = config.evaluation.timeout_seconds
            limit = min(limit, timeout + max(EVAL_GRACE_SECONDS, timeout / 2))
        cause = run.overdue(stuck_seconds=limit, stop_seconds=config.supervisor.worker_stop_seconds)
        if cause is None:
            return
        log.warning("worker_killed", run_id=run.id, cause=cause)
        if run.asked is None and run.leaving_since is None:
            run.ask(StopCause.STUCK)
        run.worker.kill()

    def recover(self) -> None:
        """
        Put every job that was live when the last supervisor ended back to rest.
        """
        for job in self._context.journal.jobs(JobState.TRAINING, JobState.EVALUATING):
            move_job(self._context, job["id"], JobEvent.INTERRUPT)
        for run in self._context.journal.open_runs():
            self._context.journal.update_run(run["id"], ended_at=utc_now(), outcome="lost")
