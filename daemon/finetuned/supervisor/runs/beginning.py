"""
What the log says once of a run of a job, as soon as its worker knows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from finetuned.files.heartbeat import Beat
from finetuned.supervisor.runs.run import SupervisedRun

log = structlog.get_logger()


@dataclass(slots=True)
class JobRun:
    """
    The run of a job, and what was done about it so far.
    """

    run: SupervisedRun
    job_id: str
    is_logged: bool = False
    """Whether log_beginning() has said its part."""


def log_beginning(now: JobRun, beat: Beat) -> None:
    """
    Log once how a run trains (what was chosen and refused, and why anything was reset), or how
    long an evaluation will take and what it leaves out.
    """
    if now.is_logged:
        return
    if (plan := beat.evaluation_plan) is not None:
        now.is_logged = True
        log.info(
            "evaluation_planned",
            run_id=now.run.id,
            job_id=now.job_id,
            items=plan["items"],
            left_out=plan["left_out"],
            seconds=plan["seconds"],
            tokens_per_second=plan["tokens_per_second"],
            max_seconds=plan["max_seconds"],
        )
    elif beat.ready_at is not None:
        now.is_logged = True
        log.info(
            "training_ready",
            run_id=now.run.id,
            job_id=now.job_id,
            optimizer_state=beat.optimizer_state,
            warm_up=beat.warm_up,
            chat_template=beat.chat_template,
            replay=beat.replay,
            kernels=beat.kernels,
            precision=beat.precision,
            max_batch_tokens=beat.max_batch_tokens,
            kernels_reason=beat.kernels_reason,
            kernels_timed=beat.kernels_timed,
            kernels_refused=beat.kernels_refused,
        )
