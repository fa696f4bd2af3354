"""
Knobs of the daemon itself, and of the versions it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time

from finetuned.config.checks import check, ranges


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    keep_last: int = 5
    """
    Promoted and rejected versions that prune keeps although nothing needs them, newest
    first, >= 0. Release and head, their way back, pinned versions and the last verified
    backup are always kept.
    """

    keep_heads: int = 3
    """
    Held versions that are kept, newest first, >= 1. Older ones go to models/trash/ by
    themselves: the newer ones were trained on top of them and have learnt what they learnt.
    """

    held_trash_bytes: int = 1 << 30
    """
    Most bytes of old held versions in models/trash/, >= 0. Above it the oldest are deleted
    for good, if an intact head was trained on top of them.
    """

    backup: bool = True
    """Whether each promoted version is copied to models/backups/ and verified there."""

    consolidate_at: str = ""
    """
    Local time of day, such as "03:00", after which an idle daemon merges the adapter in use
    into a new full version that training goes on from; "" merges on demand only
    (touch control/consolidate). Each merge keeps a model of full size.
    """

    consolidate_after: int = 8
    """Promotions since the last merge before the nightly one is worth it, >= 1."""

    def __post_init__(self) -> None:
        ranges(
            "registry",
            self,
            keep_last=(0, None),
            keep_heads=(1, None),
            held_trash_bytes=(0, None),
            consolidate_after=(1, None),
        )
        if self.consolidate_at:
            try:
                local = time.fromisoformat(self.consolidate_at).tzinfo is None
            except ValueError:
                local = False
            check(local, "registry.consolidate_at", "a local time like 03:00", self.consolidate_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorConfig:
    heartbeat_seconds: float = 0.5
    """Longest time between two turns of the loop while a worker runs, in seconds, 0.05 to 5."""

    idle_seconds: float = 2.0
    """Longest time between two turns of the idle loop, in seconds, 0.05 to 5."""

    worker_stuck_seconds: float = 600.0
    """
    A worker that shows no progress for this long is killed and its job retried,
    in seconds, 5 to 86400. Must be longer than the slowest optimizer step, load or save.
    """

    worker_stop_seconds: float = 60.0
    """
    How long a worker may take to checkpoint after a stop, in seconds, 1 to 3600;
    then SIGKILL. Work since the last checkpoint is then done again.
    """

    warm_worker_seconds: float = 300.0
    """
    How long after a job its training worker, with model and optimizer, and its evaluation
    worker wait for the next file, in seconds, 0 to 86400. Saves the start and the load, and
    costs their memory meanwhile; 0 gives each run a process of its own.
    """

    worker_growth: float = 1.5
    """
    A worker that stays is replaced once it holds more than this many times
    the memory that it held after its first run plus 256 MiB, 0.01 to 100.
    """

    disk_reserve_bytes: int = 256 * 2**20
    """
    Free space below which nothing new is started, in bytes, >= 0; two checkpoints of
    the last size are added to it. The daemon waits for space and counts no attempt.
    """

    retry_seconds: float = 5.0
    """
    Pause before an action that the file system refused is tried again, in seconds,
    0.05 to 3600.
    """

    log_max_bytes: int = 20 * 2**20
    """Size at which a log file is rotated, in bytes, >= 4096; five rotated files are kept."""

    def __post_init__(self) -> None:
        ranges(
            "supervisor",
            self,
            heartbeat_seconds=(0.05, 5),
            idle_seconds=(0.05, 5),
            worker_stuck_seconds=(5, 86400),
            worker_stop_seconds=(1, 3600),
            warm_worker_seconds=(0, 86400),
            worker_growth=(0.01, 100),
            disk_reserve_bytes=(0, None),
            retry_seconds=(0.05, 3600),
            log_max_bytes=(4096, None),
        )
