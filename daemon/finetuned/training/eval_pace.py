"""
How many rows a live eval may ask now, so that live evals keep to their share of wall time.

The cost of the last look predicts the cost of the next. Pure: every number is an argument.
"""

from __future__ import annotations

MAX_LOOK_ROWS = 8
"""Most rows of one look."""

FIRST_LOOK_SHARE = 0.5
"""Most that a first look may take of what live evals may take in the whole job."""

FIRST_LOOK_SECONDS = 2.0
"""What a first look may take in any case, so that short jobs show an answer too."""

_COST_OF_HALF = 0.8
"""
Time of a look with half the rows, as a share of the whole: rows are generated together, so
a look takes about as long as its longest row.
"""


def budget_left_seconds(
    max_wall_fraction: float, *, training_seconds: float, spent_seconds: float
) -> float:
    """
    Return the seconds that live evals may still take; negative if they took too many.

    Args:
        max_wall_fraction: Share of wall time that live evals may take, 0 to 1.
        training_seconds: Wall time since training began in this process, evals included.
        spent_seconds: The part of it that was spent in live evals.
    """
    return max_wall_fraction * training_seconds - spent_seconds


def first_look_seconds(max_wall_fraction: float, *, expected_seconds: float) -> float:
    """
    Return how long the first look, or the first measurement of drift, may take, in seconds.

    Args:
        max_wall_fraction: As budget_left_seconds.
        expected_seconds: Of training in this process, from its first step to its last.
    """
    return max(FIRST_LOOK_SECONDS, FIRST_LOOK_SHARE * max_wall_fraction * expected_seconds)


def rows_affordable(
    left_seconds: float, *, last_rows: int, last_seconds: float, n_questions: int
) -> int:
    """
    Return how many rows the next look may ask, 0 to MAX_LOOK_ROWS.

    Twice as many as last time if the budget allows the last cost twice, fewer if it does
    not allow it once. The first look is one row, so that an answer is shown early; see
    first_look_seconds for how long it may take.

    Args:
        left_seconds: As budget_left_seconds.
        last_rows: Rows of the last look; 0 before the first.
        last_seconds: Wall time of the last look.
        n_questions: Held-out questions of the job.
    """
    if not n_questions:
        return 0
    if not last_rows:
        return 1
    if left_seconds >= 2 * last_seconds:
        return min(2 * last_rows, MAX_LOOK_ROWS, n_questions)
    rows, cost = last_rows, last_seconds
    while rows > 1 and left_seconds < cost:
        rows, cost = rows // 2, cost * _COST_OF_HALF
    return rows if left_seconds >= cost else 0
