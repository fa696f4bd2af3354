"""
The daemon's own state in the words of the status file.
"""

from __future__ import annotations

import time
from typing import Any

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobState
from finetuned.core.record import to_json
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.runs.jobs import JobRunner


def describe(
    context: Context,
    jobs: JobRunner,
    intake: Intake,
    watch: PromotionWatch,
    *,
    low_disk: str | None,
    stopping: bool,
) -> dict[str, Any]:
    """
    Return the status fields that follow from the daemon's own state.

    Args:
        context: Shared state.
        jobs: Asked for its worker.
        intake: Asked for the inbox.
        watch: Asked for the version that is being watched.
        low_disk: Why the disk is too full to start anything, if it is.
        stopping: Whether the daemon was asked to leave.
    """
    view = jobs.view()
    paused = context.journal.settings.paused()
    reason = low_disk or context.blocked_reason or intake.unavailable
    if view is not None:
        phase = f"stopping ({view.stopping})" if view.stopping else jobs.phase
        status = "training"
    elif stopping:
        phase, status = "stopping", "idle"
    elif paused is not None:
        phase = status = "paused"
    elif reason is not None:
        phase, status = "waiting", "idle"
    elif intake.validation.busy:
        phase, status = "validating", "idle"
    elif watch.busy:
        phase, status = "asking_canaries", "idle"
    else:
        phase, status = "idle", "idle"
    if context.board.fields["error_type"] is not None and view is not None:
        context.board.update(error_type=None, error_message=None)
    context.board.show_job(describe_job(context, jobs))
    datasets, jobs_in = context.journal.datasets.counts(), context.journal.jobs.counts()
    return {
        "status": status,
        "phase": phase,
        "waiting_reason": reason,
        "paused_reason": paused,
        "version": context.journal.promotions.incumbent(),
        "job": context.board.fields["job"],
        "watch": watch.describe(),
        "queue": {
            "inbox": intake.files_waiting,
            "claimed": datasets.get(DatasetState.CLAIMED, 0),
            "accepted": context.journal.datasets.count_without_job(),
            "duplicate": datasets.get(DatasetState.DUPLICATE, 0),
            "quarantined": datasets.get(DatasetState.QUARANTINED, 0),
            **{str(state): jobs_in.get(state, 0) for state in JobState},
        },
        "inbox_waiting": to_json(intake.waiting(time.monotonic())),
        "batch_queue_size": jobs_in.get(JobState.QUEUED, 0),
        "context_window": context.config.data.max_length,
        "max_output_tokens": context.config.evaluation.max_new_tokens,
    }


def describe_job(context: Context, jobs: JobRunner) -> dict[str, Any] | None:
    """
    Return the job that has a worker, as the status shows it; None if no job has one.
    """
    view = jobs.view()
    if view is None:
        return None
    job = context.journal.jobs.get(view.job_id)
    datasets = context.journal.datasets.of_job(view.job_id)
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "attempts": job.attempts,
        "parent": job.parent,
        "datasets": [d.name for d in datasets[:10]],
        "n_datasets": len(datasets),
    }
