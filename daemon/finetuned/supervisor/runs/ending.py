"""
The end of a run: its job is moved exactly once, and the run's end is recorded.

Knows the journal and the run folder; starts and signals nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict

import structlog

from finetuned.core.action import StopCause
from finetuned.core.early_stop import why_incomplete
from finetuned.core.job import LIVE_STATES, JobEvent, JobKind, JobState
from finetuned.core.phase import Phase
from finetuned.core.run import RunKind, RunOutcome
from finetuned.core.worker_end import (
    WorkerEnd,
    judge_end,
)
from finetuned.errors import (
    EXIT_CONFIG,
    EXIT_SOFTWARE,
    CorruptFile,
    ModelError,
    RegistryError,
)
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.rows import JobRow
from finetuned.files.run import CANDIDATE, OUTPUT, RunError
from finetuned.files.spec import EvaluationSpec, read_spec
from finetuned.files.tables.jobs import JobFailure
from finetuned.files.tables.scores import Trained
from finetuned.registry.fallback import is_intact
from finetuned.supervisor.context import Context
from finetuned.supervisor.job_moves import finish_training, move_job, retrain
from finetuned.supervisor.recover import check_head, check_incumbent
from finetuned.supervisor.runs.run import SupervisedRun
from finetuned.supervisor.verdict.conclude import conclude
from finetuned.supervisor.verdict.follow import follow_journal

log = structlog.get_logger()

CORRUPT = CorruptFile.__name__
"""Error type of a worker that found files other than their manifest says."""


WORKER_DIED = "WorkerDied"
"""Error type of a run whose worker left no error record."""


class Endings:
    """
    Judges runs that are over, and remembers when a failed job may be tried again.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._not_before: dict[str, float] = {}
        self._judged: dict[str, JobEvent] = {}
        """What the end of a run meant for its job, if the job was moved and the rest refused."""

    def not_before(self, job_id: str) -> float:
        """
        Return when a job may be tried again: monotonic time in seconds, 0 for at once.
        """
        return self._not_before.get(job_id, 0.0)

    def take(self, run: SupervisedRun, job_id: str, status: int) -> None:
        """
        Move the job of a run that is over, and record the end of the run.

        Args:
            run: Over for good.
            job_id: Its job.
            status: How it ended, as the exit status of one process.

        Raises:
            OSError, sqlite3.OperationalError: The file system refused; call it again.
                The job is moved once, however often that takes.
        """
        judged = self._judged.get(run.id)
        if judged is None:
            judged = self._judged[run.id] = self._judge(run, job_id, status)
        outcome = _outcome(run, judged)
        self._context.journal.runs.end(run.id, outcome, exit_status=status)
        del self._judged[run.id]
        log.info("run_ended", run_id=run.id, exit_status=status, cause=judged)

    def _judge(self, run: SupervisedRun, job_id: str, status: int) -> JobEvent:
        context, error = self._context, run.error
        job = context.journal.jobs.get(job_id)
        if job.state not in LIVE_STATES:  # an earlier try moved the job and was refused after that
            return _event_of(run, job.state)
        ended = run.exit_record
        if ended is not None and ended.status != status:
            died = f"a process of the launch died; see {run.id}/{OUTPUT} in models/runs"
            error = RunError(error_type=WORKER_DIED, error_message=died, reason=None)
        silent = f"the worker ended with status {status}; see {run.id}/{OUTPUT} in models/runs"
        end = WorkerEnd(
            exit_status=status,
            asked=run.asked,
            refused=None if error is None else error.reason,
            message=silent if error is None else error.error_message or silent,
        )
        limit = context.config.inbox.max_attempts
        event = judge_end(end, attempts=job.attempts, max_attempts=limit)
        if event is JobEvent.FINISH:
            try:
                self._finish(run, job)
            except ModelError as problem:  # the candidate is incomplete: judged like a crash
                if context.journal.jobs.get(job_id).state not in LIVE_STATES:
                    raise  # the verdict is on record; a link could not follow it yet
                end = WorkerEnd(EXIT_SOFTWARE, None, None, str(problem))
                event = judge_end(end, attempts=job.attempts, max_attempts=limit)
                error = RunError(
                    error_type=type(problem).__name__, error_message=str(problem), reason=None
                )
        failed = event in (JobEvent.RETRY, JobEvent.FAIL)
        if failed and error is not None and error.error_type == CORRUPT and self._mended(run, job):
            return JobEvent.INTERRUPT
        if event is not JobEvent.FINISH:
            self._stopped_early(run, event, end, error, job)
        return event

    def _mended(self, run: SupervisedRun, job: JobRow) -> bool:
        """
        Repair the damaged version that a worker refused to load, and put the job back to rest.

        The job costs no attempt. If an ancestor had to take the version's place, it
        begins again from that.

        Returns:
            False if neither release nor head is damaged, or one cannot be repaired.
        """
        context, journal = self._context, self._context.journal
        before = (journal.promotions.incumbent(), journal.heads.version())
        damaged = [v for v in before if v is not None and not is_intact(context.layout, v)]
        if not damaged:
            return False
        try:
            check_incumbent(context)
            check_head(context)
            follow_journal(context)
        except (ModelError, RegistryError) as problem:
            log.error("version_corrupt", version=damaged[0], error=str(problem))
            return False
        move_job(journal, job.id, JobEvent.INTERRUPT)
        if journal.heads.version() != before[1] and run.kind is RunKind.TRAINING:
            journal.jobs.start_over(job.id)
        return True

    def _stopped_early(
        self,
        run: SupervisedRun,
        event: JobEvent,
        end: WorkerEnd,
        error: RunError | None,
        job: JobRow,
    ) -> None:
        context = self._context
        if event is JobEvent.INTERRUPT:
            move_job(context.journal, job.id, event)
            if end.exit_status == EXIT_CONFIG:
                context.block("configuration", end.message)
                if run.kind is RunKind.TRAINING:  # so that it starts with the mended one
                    context.journal.jobs.forget_config(job.id)
            elif end.refused is not None:
                context.block(end.refused, end.message)
            return
        if event is JobEvent.SKIP:
            move_job(context.journal, job.id, event, reason="skipped by command")
            return
        failure = JobFailure(
            error_type=WORKER_DIED if error is None else error.error_type,
            error_message=end.message,
            attempts=job.attempts + 1,
        )
        if event is JobEvent.RETRY:
            wait = context.config.supervisor.retry_seconds * 2**job.attempts
            self._not_before[job.id] = time.monotonic() + wait
        log.error("run_failed", run_id=run.id, job_id=job.id, **asdict(failure))
        context.board.update(error_type=failure.error_type, error_message=failure.error_message)
        move_job(context.journal, job.id, event, failure=failure)

    def _finish(self, run: SupervisedRun, job: JobRow) -> None:
        context = self._context
        if run.kind is RunKind.TRAINING:
            manifest = read_model_manifest(run.folder / CANDIDATE)
            if job.kind is JobKind.CONSOLIDATION:
                move_job(context.journal, job.id, JobEvent.FINISH, candidate_run=run.id)
                return
            rule = job.resolved_config().training
            problem = why_incomplete(
                manifest.document,
                planned_steps=manifest.planned_steps,
                patience=rule.patience,
                min_delta=rule.min_delta,
            )
            if problem is not None:
                raise ModelError(f"{run.folder}: not the end of its job: {problem}")
            steps = manifest.job_steps
            trained = [
                Trained(
                    d.dataset_id,
                    d.n_examples,
                    d.n_supervised_tokens,
                    steps,
                    d.unseen,
                    d.unseen_because,
                )
                for d in manifest.datasets
            ]
            finish_training(context.journal, job.id, run.id, trained, last_step=steps)
            return
        head, release = context.journal.heads.version(), context.journal.promotions.incumbent()
        asked = read_spec(run.folder, EvaluationSpec).incumbent
        if head != job.parent:
            retrain(context.journal, job.id, f"the head became {head} during evaluation")
        elif release != (None if asked is None else asked.version):
            # The candidate is what it was; what it is compared with is not.
            reason = f"the release became {release} during evaluation"
            move_job(context.journal, job.id, JobEvent.INTERRUPT, reason=reason)
        else:
            conclude(context, job, run.folder)


def _event_of(run: SupervisedRun, state: JobState) -> JobEvent:
    """Return the event that must have brought a job into *state* at the end of its run."""
    if state is JobState.TRAINED:
        return JobEvent.FINISH if run.kind is RunKind.TRAINING else JobEvent.INTERRUPT
    ends = {JobState.SKIPPED: JobEvent.SKIP, JobState.FAILED: JobEvent.FAIL}
    rest = JobEvent.INTERRUPT if state is JobState.QUEUED else JobEvent.FINISH
    return ends.get(state, rest)


def _outcome(run: SupervisedRun, event: JobEvent) -> RunOutcome:
    if run.asked is StopCause.STUCK and run.phase is Phase.EVALUATING:
        return RunOutcome.STUCK_IN_EVAL
    return RunOutcome(event)
