"""
How many rows a live eval asks: its share of wall time is kept, whatever a look costs.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.training.eval_pace import (
    FIRST_LOOK_SECONDS,
    MAX_LOOK_ROWS,
    budget_left_seconds,
    first_look_seconds,
    rows_affordable,
)


@pytest.mark.parametrize(
    ("left", "rows"),
    [(0.0, 0), (0.4, 0), (0.55, 1), (0.65, 2), (0.85, 4), (1.0, 8), (1.99, 8), (2.0, 8)],
)
def test_a_smaller_budget_asks_fewer_rows(left: float, rows: int) -> None:
    """
    The last look had 8 rows and took a second; half the rows cost 0.8 of that.
    """
    assert rows == rows_affordable(left, last_rows=8, last_seconds=1.0, n_questions=100)


def test_a_look_that_is_cheap_is_doubled_up_to_the_questions_there_are() -> None:
    """
    Never more rows than MAX_LOOK_ROWS or than held-out questions.
    """
    cheap = {"last_seconds": 0.1, "left_seconds": 60.0}
    assert 4 == rows_affordable(last_rows=2, n_questions=100, **cheap)
    assert 2 == rows_affordable(1.99, last_rows=2, last_seconds=1.0, n_questions=100)
    assert 4 == rows_affordable(2.0, last_rows=2, last_seconds=1.0, n_questions=100)
    assert MAX_LOOK_ROWS == rows_affordable(last_rows=MAX_LOOK_ROWS, n_questions=100, **cheap)
    assert 3 == rows_affordable(last_rows=2, n_questions=3, **cheap)


def test_a_first_look_takes_at_most_half_of_what_the_job_has() -> None:
    """
    Of 5% of an hour 90 s; in a short job two seconds, so that it shows an answer too.
    """
    assert 90.0 == pytest.approx(first_look_seconds(0.05, expected_seconds=3600.0))
    assert FIRST_LOOK_SECONDS == first_look_seconds(0.05, expected_seconds=10.0)


def test_the_first_look_is_one_row() -> None:
    """
    An answer is shown early; without questions there is no look.
    """
    assert 1 == rows_affordable(-5.0, last_rows=0, last_seconds=0.0, n_questions=9)
    assert 0 == rows_affordable(60.0, last_rows=0, last_seconds=0.0, n_questions=0)


@given(
    st.floats(0.01, 0.5),
    st.floats(0.01, 5.0),
    st.floats(0.01, 2.0),
    st.floats(0.0, 1.0),
)
def test_after_the_first_look_the_share_is_kept(
    share: float, row_seconds: float, step_seconds: float, batching: float
) -> None:
    """
    Looks of n rows take between one row's time and n times that; 300 steps are simulated.
    """
    clock = spent = 0.0
    last_rows, last_seconds, allowed = 0, 0.0, 0.0
    for _ in range(300):
        clock += step_seconds
        left = budget_left_seconds(share, training_seconds=clock, spent_seconds=spent)
        rows = rows_affordable(left, last_rows=last_rows, last_seconds=last_seconds, n_questions=50)
        if not rows:
            continue
        cost = row_seconds * rows**batching
        # Doubling is priced at twice the last cost at most; halving may save less than assumed.
        allowed = max(allowed, cost)
        last_rows, last_seconds = rows, cost
        spent += cost
        clock += cost
    assert spent <= share * clock + allowed
