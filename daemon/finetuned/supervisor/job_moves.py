"""
Every change of a job's state: recorded in the journal, then logged, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from finetuned.core.job import JobEvent
from finetuned.errors import ConfigError
from finetuned.files.journal import Journal, Judgement
from finetuned.files.rows import JobRow
from finetuned.files.tables.jobs import JobFailure, JobMove
from finetuned.files.tables.scores import Trained

log = structlog.get_logger()


def move_job(
    journal: Journal,
    job_id: str,
    event: JobEvent,
    *,
    reason: str | None = None,
    failure: JobFailure | None = None,
    candidate_run: str | None = None,
) -> None:
    """
    Move one job along the table of core.job.

    Args:
        journal: Where the job is.
        job_id: The job.
        event: What happened to it.
        reason: Recorded beside the new state; None leaves the one that is there.
        failure: Likewise, of a run that failed.
        candidate_run: Likewise, the run whose folder holds the candidate.

    Raises:
        InvalidTransition: *event* cannot happen to it; nothing was moved.
        sqlite3.OperationalError: The file system refused; nothing was moved.
    """
    _log(
        journal.jobs.move(
            job_id, event, reason=reason, failure=failure, candidate_run=candidate_run
        )
    )


def retrain(journal: Journal, job_id: str, reason: str) -> None:
    """
    Send a job back to the queue: the head changed.

    Raises:
        InvalidTransition, sqlite3.OperationalError: As move_job.
    """
    _log(journal.jobs.retrain(job_id, reason))


def retrain_if_past(journal: Journal, job: JobRow) -> bool:
    """
    Send a trained job back to the queue if its candidate cannot be judged any more.

    It was trained on another version than the head, or this version of the program cannot read
    its recorded configuration: which margins and suites it was promised is not known.

    Returns:
        Whether it was sent back.

    Raises:
        sqlite3.OperationalError: As move_job.
    """
    head = journal.heads.version()
    reason = f"the head is {head}, it was trained on {job.parent}"
    if head == job.parent:
        try:
            job.resolved_config()
            return False
        except ConfigError as error:
            log.warning("job_config_unreadable", job_id=job.id, error=str(error))
            reason = f"{error}; it is trained again by config.toml as it is now"
    retrain(journal, job.id, reason)
    return True


def try_again(journal: Journal, job_id: str, reason: str, judged: Judgement) -> None:
    """
    Send a job back to the queue whose candidate forgot too much; see Journal.try_again.

    Raises:
        InvalidTransition, sqlite3.OperationalError: As move_job.
    """
    _log(journal.try_again(job_id, reason, judged))


def finish_training(
    journal: Journal, job_id: str, run_id: str, trained: Sequence[Trained], *, last_step: int
) -> None:
    """
    Move a job whose training run left a candidate; see Journal.finish_training.

    Raises:
        InvalidTransition, sqlite3.OperationalError: As move_job.
    """
    _log(journal.finish_training(job_id, run_id, trained, last_step=last_step))


def conclude_job(
    journal: Journal,
    job_id: str,
    event: JobEvent,
    *,
    version: str,
    parent: str | None,
    reason: str,
    judged: Judgement | None = None,
) -> bool:
    """
    Move a job that the gate judged; see Journal.conclude.

    Returns:
        Whether the verdict is in force; False if head or release were changed meanwhile.

    Raises:
        InvalidTransition, sqlite3.OperationalError: As move_job.
    """
    move = journal.conclude(
        job_id, event, version=version, parent=parent, reason=reason, judged=judged
    )
    _log(move)
    return move.event is event


def set_learnt_aside(journal: Journal, job_id: str) -> bool:
    """
    Skip what the head has learnt already of a job that is about to start.

    Returns:
        Whether nothing is left: the job itself was skipped.

    Raises:
        InvalidTransition, sqlite3.OperationalError: As move_job.
    """
    move = journal.set_learnt_aside(job_id)
    if move is not None:
        _log(move)
    return move is not None and move.job_id == job_id


def _log(move: JobMove) -> None:
    log.info("job_state_changed", job_id=move.job_id, old=move.old, new=move.new, cause=move.event)
