"""
The life of one training job, as a table.

A job is one inbox file, or a few small ones that waited together, on its way
to a model version. Without a failure its states are QUEUED, TRAINING, TRAINED,
EVALUATING, PROMOTED or HELD. TRAINING and EVALUATING need a live process; each has a
state of rest that an interruption leads back to, so that after a power cut no
job is in a state that needs a process nobody runs.
"""

from __future__ import annotations

from enum import StrEnum

from finetuned.errors import InvalidTransition


class JobKind(StrEnum):
    TRAINING = "training"  # datasets towards a better version
    CONSOLIDATION = "consolidation"  # the adapter of the head merged into a full model


class JobState(StrEnum):
    QUEUED = "queued"  # validated, waiting for the device
    TRAINING = "training"  # a worker process is training on it
    TRAINED = "trained"  # a candidate exists, waiting for evaluation
    EVALUATING = "evaluating"  # a worker process is making its eval report
    PROMOTED = "promoted"  # current_model became this version
    HELD = "held"  # training goes on from its version, current_model stays
    REJECTED = "rejected"  # the gate said no
    SKIPPED = "skipped"  # a person said no
    FAILED = "failed"  # out of attempts, or it cannot work


class JobEvent(StrEnum):
    START = "start"  # a worker process was spawned
    FINISH = "finish"  # it left a candidate behind
    ACCEPT = "accept"  # the gate let the candidate through
    HOLD = "hold"  # not shown to be better, and nothing is broken
    REJECT = "reject"
    SKIP = "skip"
    INTERRUPT = "interrupt"  # it was stopped, by us or by a power cut; costs no attempt
    RETRY = "retry"  # it failed and may try again; costs one attempt
    RETRAIN = "retrain"  # the head changed under it, or it forgot too much: start again
    FAIL = "fail"


_TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.QUEUED, JobEvent.START): JobState.TRAINING,
    (JobState.QUEUED, JobEvent.SKIP): JobState.SKIPPED,
    (JobState.QUEUED, JobEvent.FAIL): JobState.FAILED,
    (JobState.TRAINING, JobEvent.FINISH): JobState.TRAINED,
    (JobState.TRAINING, JobEvent.SKIP): JobState.SKIPPED,
    (JobState.TRAINING, JobEvent.INTERRUPT): JobState.QUEUED,
    (JobState.TRAINING, JobEvent.RETRY): JobState.QUEUED,
    (JobState.TRAINING, JobEvent.FAIL): JobState.FAILED,
    (JobState.TRAINED, JobEvent.START): JobState.EVALUATING,
    (JobState.TRAINED, JobEvent.SKIP): JobState.SKIPPED,
    (JobState.TRAINED, JobEvent.RETRAIN): JobState.QUEUED,
    (JobState.TRAINED, JobEvent.FAIL): JobState.FAILED,
    (JobState.EVALUATING, JobEvent.ACCEPT): JobState.PROMOTED,
    (JobState.EVALUATING, JobEvent.HOLD): JobState.HELD,
    (JobState.EVALUATING, JobEvent.REJECT): JobState.REJECTED,
    (JobState.EVALUATING, JobEvent.SKIP): JobState.SKIPPED,
    (JobState.EVALUATING, JobEvent.INTERRUPT): JobState.TRAINED,
    (JobState.EVALUATING, JobEvent.RETRY): JobState.TRAINED,
    (JobState.EVALUATING, JobEvent.RETRAIN): JobState.QUEUED,
    (JobState.EVALUATING, JobEvent.FAIL): JobState.FAILED,
}

LIVE_STATES = frozenset({JobState.TRAINING, JobState.EVALUATING})
FINAL_STATES = frozenset(JobState) - {state for state, _ in _TRANSITIONS}


def next_state(state: JobState, event: JobEvent) -> JobState:
    """
    Return the state *event* leads to from *state*.

    Raises:
        InvalidTransition: *event* cannot happen in *state*.
    """
    try:
        return _TRANSITIONS[state, event]
    except KeyError:
        raise InvalidTransition(f"{event} cannot happen to a {state} job") from None


def can(state: JobState, event: JobEvent) -> bool:
    """
    Return whether *event* may happen in *state*.
    """
    return (state, event) in _TRANSITIONS
