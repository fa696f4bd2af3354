"""
What a person may be told at once, and when a state that lasts becomes such a notice. Pure.

A notice is an event of the journal (a verdict, a job that failed, a version taken back), or a
state that holds for a while (waiting for a person, a disk that is nearly full). Knows no
clock; when notices are sent is in core/digest.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from finetuned.core.job import JobState


class NoticeKind(StrEnum):
    PROMOTED = "promoted"  # a candidate is in use now
    HELD = "held"  # training goes on from a candidate, current_model stays
    REJECTED = "rejected"  # the gate said no
    TAKEN_BACK = "taken_back"  # the version in use failed or is damaged; another one is in use
    FAILED = "failed"  # a job is out of attempts, or cannot work
    WAITING = "waiting"  # something stands in the way that a person has to mend
    DISK_LOW = "disk_low"  # nothing new is started for want of space


OF_JOB: Final[Mapping[JobState, NoticeKind]] = {
    JobState.PROMOTED: NoticeKind.PROMOTED,
    JobState.HELD: NoticeKind.HELD,
    JobState.REJECTED: NoticeKind.REJECTED,
    JobState.FAILED: NoticeKind.FAILED,
}
"""The notice that the end of a job is; a person who skips a job need not be told."""

HOLD_SECONDS: Final = 60.0
"""How long a state must hold before it is a notice, and be gone before it can be one again."""


@dataclass(frozen=True, slots=True)
class Condition:
    """
    A state that a person should end, as it is now.
    """

    kind: NoticeKind
    text: str
    """One sentence; numbers in it may change while it holds."""

    @property
    def key(self) -> str:
        """What makes it the same state as before: its kind, and the text to the first colon."""
        return f"{self.kind}:{self.text.split(':')[0]}"


@dataclass(frozen=True, slots=True)
class Held:
    """
    A state that was seen.
    """

    since: float
    """Seconds, on the clock of the caller."""
    seen: float
    """When it was seen last."""
    told: bool = False


def observe(
    known: Mapping[str, Held], conditions: Sequence[Condition], now: float
) -> tuple[dict[str, Held], list[Condition]]:
    """
    Return the states that are remembered from now on, and those that became notices.

    Each is a notice once, after it held for HOLD_SECONDS. One that was gone for HOLD_SECONDS is
    forgotten, so that it can become a notice again; one that comes and goes is told once.

    Args:
        known: By key, as returned before.
        conditions: Those that hold now.
        now: Seconds, on a clock that does not go back.
    """
    left, told = dict(known), []
    for condition in conditions:
        held = left.get(condition.key) or Held(now, now)
        held = replace(held, seen=now)
        if not held.told and now - held.since >= HOLD_SECONDS:
            held = replace(held, told=True)
            told.append(condition)
        left[condition.key] = held
    return {key: held for key, held in left.items() if now - held.seen < HOLD_SECONDS}, told
