"""
How large a micro-batch the free memory holds, foreseen from a smaller one that was measured.

Memory grows at most in proportion to the tokens, and what does not grow with them makes the
forecast too careful, never too bold. Knows bytes and tokens; does not know devices.
"""

from __future__ import annotations

GROWTH = 4
"""The next try has at most so many times the tokens of the last: so far a forecast is trusted."""

MARGIN = 1.5
"""The next try is foreseen to need so many times less than what is free."""

CERTAIN = 2.0
"""Nothing more is tried if all of it is foreseen to need so many times less than what is free."""

_WORTH = 1.25
"""Below so many times what was tried already, another try is not worth its time."""


def surely_fits(tokens: int, *, measured_tokens: int, measured_bytes: int, free_bytes: int) -> bool:
    """
    Return whether a micro-batch of *tokens* need not be tried.

    Args:
        tokens: Of the largest micro-batch that is wanted.
        measured_tokens: Of one that was computed, >= 1.
        measured_bytes: What it took at its peak.
        free_bytes: What was free before it.
    """
    return measured_bytes * (tokens / measured_tokens) * CERTAIN <= free_bytes


def next_try(
    tokens: int, *, measured_tokens: int, measured_bytes: int, free_bytes: int
) -> int | None:
    """
    Return how many tokens to try next, None if what was measured is the most that fits.

    Args:
        tokens: Of the largest micro-batch that is wanted.
        measured_tokens: Of one that was computed, >= 1.
        measured_bytes: What it took at its peak.
        free_bytes: What was free before it.
    """
    fits = int(free_bytes * measured_tokens / (MARGIN * max(measured_bytes, 1)))
    found = min(tokens, GROWTH * measured_tokens, fits)
    return found if found > _WORTH * measured_tokens or found == tokens else None
