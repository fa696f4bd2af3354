"""
When a run is over, how it ended, and which worker is kept or started for the next. Pure.

A run ends with ``exit.json``, the exit record that its worker writes. A worker
that stays outlives its runs, so the end of its process counts only if that record
is missing. Does not know files or processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from finetuned.errors import EXIT_OK, EXIT_SOFTWARE, EXIT_TEMPFAIL

SLACK_BYTES = 256 * 2**20
"""Growth that every worker is allowed: caches, arenas, one longer batch."""


START_AHEAD_SECONDS = 10.0
"""
How long before the end of a training its evaluation's worker is started. Its imports
take 2.5 to 4 s of a core of their own, and twice that beside a training on every core.
"""


class Foresight(StrEnum):
    SOON = "soon"  # the next kind of worker should be starting
    LATER = "later"  # one that waits may wait on
    FAR = "far"  # one that waits would wait longer than warm_worker_seconds


def foresee(eta_seconds: float | None, *, warm_seconds: float) -> Foresight:
    """
    Return when the worker of the run that follows a training is needed.

    Args:
        eta_seconds: Until the training's last step, in seconds; None while unknown.
        warm_seconds: How long a worker may wait for a run, in seconds, >= 0.
    """
    if eta_seconds is None:
        return Foresight.LATER
    if eta_seconds <= START_AHEAD_SECONDS:
        return Foresight.SOON
    return Foresight.FAR if eta_seconds > warm_seconds else Foresight.LATER


def outgrown(rss_bytes: int, first_rss_bytes: int, growth: float) -> bool:
    """
    Return whether a live worker holds so much memory that a fresh one should take over.

    Args:
        rss_bytes: Resident memory after its last run, in bytes.
        first_rss_bytes: The same after its first run.
        growth: How many times that, with 256 MiB added, it may hold; > 0.
    """
    return rss_bytes > growth * (first_rss_bytes + SLACK_BYTES)


@dataclass(frozen=True, slots=True)
class RunObservation:
    """
    A run as the supervisor sees it from outside.
    """

    said: int | None
    """The status in its exit.json, 0 to 255; None if there is none yet."""
    stays: bool
    """Whether exit.json says that the worker waits for the next run."""
    process: int | None
    """Exit status of its process, minus the signal that killed it; None while it lives."""
    taken_up: bool
    """Whether the worker began it."""
    asked: bool
    """Whether the supervisor asked it to stop, or killed it."""
    launched: bool = False
    """Whether the process is a launcher, whose own status shows only that something failed."""
    refused: bool = False
    """Whether its error record names a refusal of the file system."""


def is_over(signs: RunObservation) -> bool:
    """
    Return whether a run has ended and its device is free or kept on purpose.

    The exit record is enough if the worker stays. A worker that was asked to stop
    is waited for until its process has ended, so that a pause means a free device.
    """
    if signs.process is not None:
        return True
    return signs.said is not None and signs.stays and not signs.asked


def run_status(signs: RunObservation) -> int:
    """
    Return how a run that is over ended, as the exit status of one process.

    exit.json decides if it exists: a launcher ends with 1 whatever its processes
    end with, and a worker that stays does not end at all. Without it the process's
    own status counts: it crashed, or the disk was too full for the record.

    Returns:
        0 to 255, or minus the number of the signal that killed the process.
    """
    if signs.said is not None:
        stopped_unasked = signs.said == EXIT_TEMPFAIL and not signs.asked and not signs.refused
        if signs.launched and stopped_unasked:
            # The launcher stops the rest when one of its processes dies: a crash, not a stop.
            return EXIT_SOFTWARE
        return signs.said
    if signs.process is None:
        raise ValueError("the run is not over")
    if signs.process == EXIT_OK and not signs.taken_up:
        return EXIT_TEMPFAIL  # it was told to leave before it had read what to do
    return signs.process


def should_reassign(signs: RunObservation, *, reused: bool) -> bool:
    """
    Return whether a run must be given to another worker, as if nothing had happened.

    A worker may die while it waits, and be given a run before that is seen. That
    run was not tried, so it costs nothing; only a worker started for its
    run can fail it before it begins.
    """
    gone = signs.process is not None and signs.said is None
    return gone and reused and not signs.taken_up and not signs.asked
