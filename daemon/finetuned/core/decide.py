"""
What the daemon does next, given what it sees. Pure.

The supervisor looks, asks here, and performs; no rule about order, pause, skip
or priority lives anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from finetuned.core.job import JobEvent, JobState
from finetuned.core.run import RunKind
from finetuned.errors import EXIT_CONFIG, EXIT_DATAERR, EXIT_OK, EXIT_TEMPFAIL
from finetuned.layout import Priority

MOST_SHARED: Final = 2000
"""Most datasets in one shared job, so that a flood of files yields versions early."""


class StopCause(StrEnum):
    STOP = "stop"  # the daemon is leaving
    PAUSE = "pause"
    SKIP = "skip"
    STUCK = "stuck"  # no sign of progress: killed, not asked


@dataclass(frozen=True, slots=True)
class WorkerView:
    """
    A live worker process.
    """

    kind: RunKind
    job_id: str
    stopping: StopCause | None
    """Why it was asked to stop, if it was."""


@dataclass(frozen=True, slots=True)
class JobView:
    """
    A job that waits for a worker.
    """

    id: str
    state: JobState
    priority: Priority
    not_before: float = 0.0
    """Monotonic time of the next try, in seconds."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    A validated dataset that has no job yet.
    """

    key: str
    priority: Priority
    n_examples: int


@dataclass(frozen=True, slots=True)
class Situation:
    """
    Everything that matters for the next step.
    """

    stopping: bool = False
    """The daemon was asked to leave."""
    paused: bool = False
    skip_job: str | None = None
    """The job a person wants ended."""
    blocked: str | None = None
    """Why nothing new may be started now (disk full ...), if so."""
    stable_files: int = 0
    files_waiting: int = 0
    """Claimable files in the inbox, stable or not."""
    claimed: int = 0
    """Claimed files that are not validated yet."""
    accepted: Sequence[Accepted] = ()
    jobs: Sequence[JobView] = ()
    worker: WorkerView | None = None
    watch_due: bool = False
    """Whether the canaries of the version in use are to be asked again."""
    watching: bool = False
    """Whether they are being asked."""
    keeps_worker: bool = False
    """Whether a training worker waits for a run."""
    ingesting: bool = False
    unretired: int = 0
    """Finished jobs whose originals are not in their last place yet."""
    keep_warm: bool = False
    """Whether a job ended so lately that the next file may come any moment."""
    until_idle: bool = False
    scanned: bool = False
    """Whether the inbox was looked at since the start."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Take the stable files out of the inbox."""


@dataclass(frozen=True, slots=True)
class StartIngestion:
    """Validate what was claimed."""


@dataclass(frozen=True, slots=True)
class StopIngestion:
    """End validation; it starts again from the claimed files."""


@dataclass(frozen=True, slots=True)
class MakeJob:
    """Queue these datasets as one job."""

    keys: tuple[str, ...]
    priority: Priority


@dataclass(frozen=True, slots=True)
class StartTraining:
    job_id: str


@dataclass(frozen=True, slots=True)
class StartEvaluation:
    job_id: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Ask the worker to checkpoint and leave."""

    cause: StopCause


@dataclass(frozen=True, slots=True)
class SkipJob:
    """End a job that has no worker."""

    job_id: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Keep a training worker ready; start one, if none waits, before there is work for it."""


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Let a worker that waits for work go."""


@dataclass(frozen=True, slots=True)
class AskCanaries:
    """Ask what is in use the canaries again, before the device has other work."""


@dataclass(frozen=True, slots=True)
class DismissWatch:
    """End that; it comes again."""


@dataclass(frozen=True, slots=True)
class Leave:
    """End the daemon."""


Action = (
    Claim
    | StartIngestion
    | StopIngestion
    | MakeJob
    | StartTraining
    | StartEvaluation
    | StopWorker
    | SkipJob
    | WarmUp
    | CoolDown
    | AskCanaries
    | DismissWatch
    | Leave
)


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
    if now.until_idle and is_idle(now):
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
    if now.files_waiting or now.claimed or now.ingesting:
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
    Return whether nothing is being done and nothing waits.
    """
    return (
        now.scanned
        and not now.watching
        and not (now.watch_due and not now.paused)
        and now.worker is None
        and not now.ingesting
        and not now.files_waiting
        and not now.claimed
        and not now.accepted
        and not now.jobs
        and not now.unretired
    )


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """
    How a worker process ended.
    """

    exit_status: int
    """0 to 255, or minus the signal that killed it."""
    asked: StopCause | None
    refused: str | None
    """What the file system refused it (disk_full ...), from its error record."""
    message: str


def judge_end(end: WorkerEnd, *, attempts: int, max_attempts: int) -> JobEvent:
    """
    Say what the end of a worker means for its job.

    Stops, refusals of the file system and a wrong configuration cost nothing;
    a crash, a bug or a hang costs one attempt.

    Args:
        end: How it ended.
        attempts: Failures the job had before, >= 0.
        max_attempts: Failures it may have, >= 1.
    """
    if end.asked is StopCause.SKIP:
        return JobEvent.SKIP
    if end.exit_status == EXIT_OK:
        return JobEvent.FINISH
    if end.exit_status == EXIT_DATAERR:
        return JobEvent.FAIL
    if end.exit_status in (EXIT_TEMPFAIL, EXIT_CONFIG) or end.refused is not None:
        return JobEvent.INTERRUPT
    if end.asked in (StopCause.STOP, StopCause.PAUSE):
        return JobEvent.INTERRUPT  # it had to be killed to obey; its checkpoint stands
    return JobEvent.RETRY if attempts + 1 < max_attempts else JobEvent.FAIL
