"""
What is being done right now, as heartbeats and the status file say it.
"""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    # the daemon itself
    STARTING = "starting"  # also: a worker has its spec and is about to begin
    RECOVERING = "recovering"  # what the last end left is put in order
    IDLE = "idle"
    PAUSED = "paused"
    WAITING = "waiting"  # waiting_reason says for what
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTING_WORKER = "starting_worker"  # no heartbeat of the run yet
    ASKING_CANARIES = "asking_canaries"  # the version in use is asked again after its promotion

    # ingestion
    VALIDATING = "validating"  # every line is parsed and checked
    HASHING = "hashing"
    SPLITTING = "splitting"  # rows are held out or tokenised
    LEAK_CHECK = "leak_check"  # held-out prompts are looked for among trained ones
    PUBLISHING = "publishing"  # the dataset is hashed and synced
    DONE = "done"  # every file has a result

    # training
    LOADING = "loading"
    REHEARSING = "rehearsing"  # the costliest micro-batch runs once, to find the memory limit
    TRAINING = "training"
    EVALUATING = "evaluating"  # some held-out rows are answered between two steps
    CHECKPOINTING = "checkpointing"
    SAVING_CANDIDATE = "saving_candidate"
    TRAINED = "trained"
    MERGING = "merging"  # an adapter into its base
    VERIFYING_MERGE = "verifying_merge"

    # evaluation
    LOADING_FOR_EVALUATION = "loading_for_evaluation"
    EVALUATING_CANDIDATE = "evaluating_candidate"
    EVALUATED = "evaluated"
