"""
Followed examples: when a job asks the same questions again, and what became of an answer.

The schedule is dense at the beginning of a job, when answers change fast. Does not ask anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EARLY_STEPS = (
    *(10, 25, 50, 100, 150, 200, 250, 500, 750, 1000),
    *(1500, 2000, 2500, 3000, 4000, 5000, 7500, 10000, 15000, 20000),
)
"""Steps of the schedule; after the last of them it goes on every LATE_STEPS."""

LATE_STEPS = 1000


def is_scheduled(after: int, until: int) -> bool:
    """
    Return whether a step of the schedule lies behind *after* and not behind *until*.

    Args:
        after: Job step of the last time that was looked; 0 before the first step.
        until: Job step now, >= *after*.
    """
    last = EARLY_STEPS[-1]
    if any(after < step <= until for step in EARLY_STEPS):
        return True
    return until > last and until // LATE_STEPS > max(after, last) // LATE_STEPS


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    One answer to a question, at one point of a lineage's life.
    """

    job: str
    step: int
    """Step of the job; 0 before its first step."""
    version: str | None
    """The version that answered, in its evaluation; None while the job was trained."""
    answer: str | None
    """None if none was generated."""
    right: bool | None
    """None if it was not judged, as a time limit cut it."""
    loss: float | None
    """Of the expected answer, in nats per token."""


@dataclass(frozen=True, slots=True)
class Life:
    """
    What became of the answer to one question, as places in the list of its sightings.
    """

    first_right: int | None
    lost: tuple[int, ...]
    """Where a right answer became wrong."""
    found_again: tuple[int, ...]
    """Where an answer that was lost became right again."""
    right_now: bool | None
    """The last answer that was judged; None if none was."""

    @property
    def word(self) -> str:
        """The life in a word, as tables and programs have it."""
        if self.right_now is None:
            return "not judged"
        if self.right_now:
            return "found again" if self.lost else "right"
        return "never right" if self.first_right is None else "lost"


def life_of(sightings: Sequence[Sighting]) -> Life:
    """
    Return what became of an answer.

    Args:
        sightings: Of one question, in the order in which they were made.
    """
    first: int | None = None
    lost: list[int] = []
    again: list[int] = []
    now: bool | None = None
    for i, seen in enumerate(sightings):
        if seen.right is None:
            continue
        if seen.right and first is None:
            first = i
        elif seen.right and now is False and lost:
            again.append(i)
        elif not seen.right and now:
            lost.append(i)
        now = seen.right
    return Life(first, tuple(lost), tuple(again), now)
