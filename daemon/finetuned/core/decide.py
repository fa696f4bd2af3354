"""
The supervisor's next steps, given the situation. Pure.

The supervisor looks, calls decide(), and performs the actions; every rule about
order, pause, skip and priority is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from finetuned.core.action import (
    Action,
    AskCanaries,
    Claim,
    CoolDown,
    DismissWatch,
    Leave,
    MakeJob,
    SkipJob,
    StartEvaluation,
    StartIngestion,
    StartTraining,
    StopCause,
    StopIngestion,
    StopWorker,
    WarmUp,
)
from finetuned.core.job import JobState
from finetuned.core.situation import (
    Accepted,
    JobView,
    Situation,
)
from finetuned.layout import Priority

MOST_SHARED: Final = 2000
"""Most datasets in one shared job, so that a flood of files yields versions early."""


def decide(now: Situation, *, clock: float, share_examples: int) -> list[Action]:
    """
    Return what to do now, in order.

    Args:
        now: What was seen.
        clock: Monotonic time in seconds.
        share_examples: Datasets up to this size may share a job.
    """
    if now.stopping:
        return _leave(now)
    actions: list[Action] = []
    if now.worker is not None and now.worker.stopping is None:
        if now.skip_job == now.worker.job_id:
            actions.append(StopWorker(StopCause.SKIP))
        elif now.paused:
            actions.append(StopWorker(StopCause.PAUSE))
    elif now.worker is None and now.skip_job is not None:
        actions.append(SkipJob(now.skip_job))
    if now.keeps_worker and (now.paused or (now.blocked is not None and not now.keep_warm)):
        actions.append(CoolDown())  # a pause is for whoever wants the device
    if now.watching and now.paused:
        actions.append(DismissWatch())
    if now.blocked is not None:
        return actions
    if now.stable_files:
        actions.append(Claim())
    if now.claimed and not now.ingesting:
        actions.append(StartIngestion())
    if now.worker is None and not now.paused and now.skip_job is None and not now.watching:
        if now.watch_due:
            actions.append(AskCanaries())
        else:
            actions += _next_work(now, clock, share_examples)
    read_all = now.scanned and not now.files_waiting
    if now.until_idle and _at_rest(now) and (read_all or now.inbox_overdue):
        actions.append(Leave())
    return actions


def _leave(now: Situation) -> list[Action]:
    actions: list[Action] = []
    if now.worker is not None and now.worker.stopping is None:
        actions.append(StopWorker(StopCause.STOP))
    if now.ingesting:
        actions.append(StopIngestion())
    if now.keeps_worker:
        actions.append(CoolDown())
    if now.watching:
        actions.append(DismissWatch())
    if now.worker is None and not now.ingesting:
        actions.append(Leave())
    return actions


def _next_work(now: Situation, clock: float, share_examples: int) -> list[Action]:
    job = next_job([j for j in now.jobs if j.not_before <= clock])
    if job is not None and job.state is JobState.TRAINED:
        return [StartEvaluation(job.id)]
    # A new dataset of a better class goes before a queued job of a lesser one.
    made = group(now.accepted, now.ingesting or now.claimed > 0, share_examples)
    if made is not None and (job is None or _rank(made.priority) < _rank(job.priority)):
        return [made]
    if job is not None:
        return [StartTraining(job.id)]
    if now.files_waiting > now.files_held or now.claimed or now.ingesting:
        return [WarmUp()]
    if now.keep_warm and not now.until_idle:
        return [WarmUp()]
    return [CoolDown()] if now.keeps_worker else []


def _rank(priority: Priority) -> int:
    return tuple(Priority).index(priority)


def next_job(jobs: Sequence[JobView]) -> JobView | None:
    """
    Return the job whose turn it is: trained ones first, then by priority, then by age.
    """
    ready = sorted(jobs, key=lambda j: (j.state is not JobState.TRAINED, _rank(j.priority), j.id))
    return ready[0] if ready else None


def group(accepted: Sequence[Accepted], more_coming: bool, share_examples: int) -> MakeJob | None:
    """
    Return the next job to make: one dataset, or the small ones that wait together.

    Small datasets wait for the others that are being validated, since a run
    costs seconds of start-up whatever its size; a large one goes at once.

    Args:
        accepted: Datasets without a job, by arrival.
        more_coming: Whether validation is still at work.
        share_examples: What small means, in examples.
    """
    if not accepted:
        return None
    best = min(_rank(a.priority) for a in accepted)
    pool = [a for a in accepted if _rank(a.priority) == best]
    large = [a for a in pool if a.n_examples > share_examples]
    first = pool[0]
    if first.n_examples > share_examples:
        return MakeJob((first.key,), first.priority)
    if more_coming:
        return MakeJob((large[0].key,), large[0].priority) if large else None
    small = [a.key for a in pool if a.n_examples <= share_examples]
    return MakeJob(tuple(small[:MOST_SHARED]), first.priority)


def is_idle(now: Situation) -> bool:
    """
    Return whether nothing is being done and nothing waits but for somebody else.
    """
    return now.scanned and now.files_waiting <= now.files_held and _at_rest(now)


def _at_rest(now: Situation) -> bool:
    """Return whether nothing is being done, and nothing that was claimed waits."""
    return (
        not now.watching
        and not (now.watch_due and not now.paused)
        and now.worker is None
        and not now.ingesting
        and not now.claimed
        and not now.accepted
        and not now.jobs
        and not now.unretired
    )
