"""
Jobs and their workers: start, watch, judge the end, conclude.

Performs what core.decide decided. Does not know the inbox.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import structlog

from finetuned.core.decide import JobView, StopCause, WorkerEnd, WorkerView, judge_end
from finetuned.core.job import JobEvent, JobState, can
from finetuned.errors import EXIT_CONFIG, EXIT_SOFTWARE, ModelError
from finetuned.files.journal import dump_config
from finetuned.files.manifest import read_manifest
from finetuned.files.run import (
    CANDIDATE,
    ERROR,
    HEARTBEAT,
    create_run,
    read_json,
    utc_now,
)
from finetuned.supervisor.conclude import conclude
from finetuned.supervisor.context import Context
from finetuned.supervisor.spawn import WorkerProcess
from finetuned.supervisor.specs import (
    STUCK_IN_EVAL,
    SUPERSEDED,
    check_lineage,
    evaluation_spec,
    training_spec,
)

log = structlog.get_logger()

EVAL_GRACE_SECONDS = 5.0
"""How far past its deadline, or half of it more, a live eval may be before its worker is killed."""


class JobRunner:
    """
    Owns at most one training or evaluation worker, and one that warms up.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._worker: WorkerProcess | None = None
        self._warm: WorkerProcess | None = None
        self._warm_not_before = 0.0  # one that dies at once is not started at every turn
        self._job_id = ""
        self._run_id = ""
        self._asked: StopCause | None = None
        self._asked_at = 0.0
        self._beat: dict[str, Any] = {}
        self._beats = -1
        self._progress_at = 0.0
        self._not_before: dict[str, float] = {}

    # -- what decide() needs to know ---------------------------------------------

    def view(self) -> WorkerView | None:
        """
        Return the live worker, if there is one.
        """
        if self._worker is None:
            return None
        return WorkerView(self._worker.kind, self._job_id, self._asked)

    def waiting(self) -> list[JobView]:
        """
        Return the jobs that wait for a worker.
        """
        return [
            JobView(
                job["id"],
                JobState(job["state"]),
                job["priority"],
                self._not_before.get(job["id"], 0.0),
            )
            for job in self._context.journal.jobs(JobState.QUEUED, JobState.TRAINED)
        ]

    def skippable(self) -> str | None:
        """
        Return the job that a skip means now: the running one, or one interrupted before.
        """
        if self._worker is not None:
            return self._job_id
        for job in self._context.journal.jobs(JobState.TRAINED, JobState.QUEUED):
            if job["config"] is not None:
                return str(job["id"])
        return None

    @property
    def worker_pid(self) -> int | None:
        """Process id of the live worker."""
        return None if self._worker is None else self._worker.pid

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
        Start a training worker now, so that its imports are done when work comes.
        """
        now = time.monotonic()
        if self._warm is None and self._worker is None and now >= self._warm_not_before:
            self._warm_not_before = now + self._context.config.supervisor.retry_seconds
            self._warm = self._spawn("training")
            log.debug("worker_warmed_up", pid=self._warm.pid)

    def cool_down(self) -> None:
        """
        Let a worker that waits for work go.
        """
        if self._warm is not None:
            self._warm.close()
            self._warm.stop()
            self._warm = None

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
        spec, resumed_from = training_spec(context, job)
        self._start("training", job_id, spec, resumed_from=resumed_from)

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
            self._retrain(
                job_id, f"the incumbent is {incumbent}, it was trained on {job['parent']}"
            )
            return
        self._start("evaluation", job_id, evaluation_spec(context, job), resumed_from=None)

    def _retrain(self, job_id: str, reason: str) -> None:
        for run in self._context.journal.job_runs(job_id):
            self._context.journal.update_run(run["id"], outcome=SUPERSEDED)
        self._move(job_id, JobEvent.RETRAIN, parent=None, config=None, reason=reason)

    def _start(
        self, kind: str, job_id: str, spec: dict[str, Any], *, resumed_from: str | None
    ) -> None:
        context, journal = self._context, self._context.journal
        run_id = f"r{journal.next_number('run'):06d}"
        run_dir = context.layout.runs / run_id
        create_run(run_dir, {"kind": kind, "run_id": run_id, "job_id": job_id, **spec})
        worker = self._take_warm() if kind == "training" else None
        if worker is None:
            worker = self._spawn(kind)
        journal.add_run(run_id, kind, job_id, resumed_from)
        journal.update_run(run_id, pid=worker.pid, pid_started=worker.started)
        self._move(job_id, JobEvent.START)
        worker.assign(run_dir)
        self._worker, self._job_id, self._run_id = worker, job_id, run_id
        self._asked, self._beat, self._beats = None, {}, -1
        self._progress_at = time.monotonic()
        log.info("run_started", run_id=run_id, job_id=job_id, kind=kind, pid=worker.pid)

    def _take_warm(self) -> WorkerProcess | None:
        worker, self._warm = self._warm, None
        if worker is not None and worker.poll() is not None:
            worker.close()
            return None
        return worker

    def _spawn(self, kind: str) -> WorkerProcess:
        context = self._context
        return WorkerProcess(kind, cwd=context.layout.root, log=context.layout.logs / "workers.log")

    def _move(self, job_id: str, event: JobEvent, **columns: Any) -> None:
        old, new = self._context.journal.move_job(job_id, event, **columns)
        log.info("job_state_changed", job_id=job_id, old=old, new=new, cause=event)

    # -- stopping ---------------------------------------------------------------

    def stop(self, cause: StopCause) -> None:
        """
        Ask the worker to checkpoint and leave.
        """
        if self._worker is not None:
            self._asked, self._asked_at = cause, time.monotonic()
            self._worker.stop()
            log.info("worker_stopping", run_id=self._run_id, cause=cause)

    def kill(self) -> None:
        """
        End the worker at once; what is in its last checkpoint is safe.
        """
        if self._worker is not None:
            self._worker.kill()
        self.cool_down()

    def skip(self, job_id: str) -> None:
        """
        End a job that has no worker.
        """
        if can(JobState(self._context.journal.job(job_id)["state"]), JobEvent.SKIP):
            self._move(job_id, JobEvent.SKIP, reason="skipped by command")

    # -- watching ---------------------------------------------------------------

    def poll(self) -> bool:
        """
        Take in the worker's heartbeat and, if it ended, what that means.

        Returns:
            Whether the worker ended.

        Raises:
            OSError: The file system refused; the end is taken in at a later turn.
        """
        if self._warm is not None and self._warm.poll() is not None:
            self._warm.close()
            self._warm = None
        if self._worker is None:
            return False
        status = self._worker.poll()
        run_dir = self._context.layout.runs / self._run_id
        self._take_beat(run_dir)
        if status is None:
            self._check_patience()
            return False
        self._take_end(run_dir, status)
        self._worker.close()
        self._worker = None
        return True

    def _take_beat(self, run_dir: Path) -> None:
        beat = read_json(run_dir / HEARTBEAT)
        if beat is None or beat.get("beats") == self._beats:
            return
        self._beat, self._beats = beat, beat["beats"]
        self._progress_at = time.monotonic()
        self._context.board.take_heartbeat(beat)

    @property
    def phase(self) -> str | None:
        """What the worker says it is doing."""
        return self._beat.get("phase", "starting_worker") if self._worker is not None else None

    @property
    def checkpoint_bytes(self) -> int:
        """Size of the last checkpoint, 0 before the first."""
        return int(self._beat.get("checkpoint_bytes") or 0)

    def _check_patience(self) -> None:
        """Kill a worker that does not stop when asked, or shows no sign of life."""
        supervisor, now = self._context.config.supervisor, time.monotonic()
        if self._asked is not None:
            if now - self._asked_at > supervisor.worker_stop_seconds:
                log.warning("worker_killed", run_id=self._run_id, cause="did not stop in time")
                self._kill_worker()
            return
        limit = supervisor.worker_stuck_seconds
        if self._beat.get("phase") == "evaluating":
            timeout = self._context.config.evaluation.timeout_seconds
            limit = min(limit, timeout + max(EVAL_GRACE_SECONDS, timeout / 2))
        if now - self._progress_at > limit:
            log.warning("worker_killed", run_id=self._run_id, cause="no progress", seconds=limit)
            self._asked, self._asked_at = StopCause.STUCK, now
            self._kill_worker()

    def _kill_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()

    # -- concluding -------------------------------------------------------------

    def _take_end(self, run_dir: Path, status: int) -> None:
        context, journal = self._context, self._context.journal
        error = read_json(run_dir / ERROR) or {}
        end = WorkerEnd(
            exit_status=status,
            asked=self._asked,
            refused=error.get("reason"),
            message=error.get("error_message") or f"the worker ended with status {status}",
        )
        job = journal.job(self._job_id)
        limit = context.config.inbox.max_attempts
        event = judge_end(end, attempts=job["attempts"], max_attempts=limit)
        if event is JobEvent.FINISH:
            try:
                self._finish(run_dir, job)
            except ModelError as problem:  # what it left is not whole: as if it had crashed
                end = WorkerEnd(EXIT_SOFTWARE, None, None, str(problem))
                event = judge_end(end, attempts=job["attempts"], max_attempts=limit)
                error = {"error_type": type(problem).__name__}
        if event is not JobEvent.FINISH:
            self._stopped_early(event, end, error, job)
        journal.update_run(
            self._run_id, ended_at=utc_now(), exit_status=status, outcome=self._outcome(event)
        )
        log.info("run_ended", run_id=self._run_id, exit_status=status, cause=event)

    def _outcome(self, event: JobEvent) -> str:
        if self._asked is StopCause.STUCK and self._beat.get("phase") == "evaluating":
            return STUCK_IN_EVAL
        return str(event)

    def _stopped_early(
        self, event: JobEvent, end: WorkerEnd, error: dict[str, Any], job: dict[str, Any]
    ) -> None:
        context = self._context
        if event is JobEvent.INTERRUPT:
            self._move(self._job_id, event)
            if end.exit_status == EXIT_CONFIG:
                context.block("configuration", end.message)
                context.journal.update_job(self._job_id, config=None)
            elif end.refused is not None:
                context.block(end.refused, end.message)
            return
        if event is JobEvent.SKIP:
            self._move(self._job_id, event, reason="skipped by command")
            return
        details = {
            "error_type": error.get("error_type") or "WorkerDied",
            "error_message": end.message,
            "attempts": job["attempts"] + 1,
        }
        if event is JobEvent.RETRY:
            wait = context.config.supervisor.retry_seconds * 2 ** job["attempts"]
            self._not_before[self._job_id] = time.monotonic() + wait
        log.error("run_failed", run_id=self._run_id, job_id=self._job_id, **details)
        context.board.update(
            error_type=details["error_type"], error_message=details["error_message"]
        )
        self._move(self._job_id, event, **details)

    def _finish(self, run_dir: Path, job: dict[str, Any]) -> None:
        if job["state"] == JobState.TRAINING:
            manifest = read_manifest(run_dir / CANDIDATE)
            if manifest["job_steps"] < 1:
                raise ModelError(f"{run_dir}: a candidate of 0 steps")
            rows = [{**d, "optimizer_steps": manifest["job_steps"]} for d in manifest["datasets"]]
            self._context.journal.finish_training(
                self._job_id, self._run_id, rows, last_step=manifest["job_steps"]
            )
            log.info(
                "job_state_changed",
                job_id=self._job_id,
                old=JobState.TRAINING,
                new=JobState.TRAINED,
                cause=JobEvent.FINISH,
            )
            return
        incumbent = self._context.journal.incumbent()
        if incumbent != job["parent"]:
            self._retrain(self._job_id, f"the incumbent became {incumbent} during evaluation")
            return
        conclude(self._context, job, run_dir)

    def recover(self) -> None:
        """
        Put every job that was live when the last supervisor ended back to rest.
        """
        for job in self._context.journal.jobs(JobState.TRAINING, JobState.EVALUATING):
            self._move(job["id"], JobEvent.INTERRUPT)
        for run in self._context.journal.open_runs():
            self._context.journal.update_run(run["id"], ended_at=utc_now(), outcome="lost")
