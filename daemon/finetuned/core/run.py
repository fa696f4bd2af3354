"""
The kinds of runs, and the words the journal uses for how a run ended.
"""

from __future__ import annotations

from enum import StrEnum


class RunKind(StrEnum):
    INGESTION = "ingestion"  # validates claimed files
    TRAINING = "training"  # trains, or merges, the candidate of one job
    EVALUATION = "evaluation"  # compares one candidate with base and incumbent
    WATCH = "watch"  # asks the canaries again after a promotion


class RunOutcome(StrEnum):
    # training and evaluation: the job event that the end of the run caused
    FINISH = "finish"
    INTERRUPT = "interrupt"
    RETRY = "retry"
    FAIL = "fail"
    SKIP = "skip"
    STUCK_IN_EVAL = "stuck_in_eval"  # killed in a live eval; the job goes on without live evals
    SUPERSEDED = "superseded"  # its checkpoints no longer count: the incumbent changed
    LOST = "lost"  # the supervisor ended before the run did
    # ingestion
    STOPPED = "stopped"  # asked to stop
    ENDED = "ended"  # left by itself; the exit status says how
    # watch
    ASKED = "asked"  # every canary was asked
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # ended early; the canaries are asked again later
