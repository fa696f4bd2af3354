"""
Followed examples: at which optimizer steps of a job the same questions are asked again.

The schedule is dense at the beginning, when answers change fast. Does not ask anything.
"""

from __future__ import annotations

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
