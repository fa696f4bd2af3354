"""
How the product's held-out loss is compared with TRL's, and what a chain of files reports.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.against_trl import RowLoss, difference, interval, per_token

ROWS = st.lists(
    st.builds(RowLoss, st.floats(0.01, 500), st.integers(1, 300)), min_size=2, max_size=30
)


@given(ROWS, st.floats(0.5, 2))
def test_the_difference_is_that_of_the_two_losses(ours: list[RowLoss], factor: float) -> None:
    """
    Rows count by their tokens, as in the loss itself, whatever their lengths.
    """
    theirs = [RowLoss(factor * row.nats, row.tokens) for row in ours]

    mean, half = interval(ours, theirs)

    assert per_token(ours) - per_token(theirs) == pytest.approx(mean, abs=1e-9)
    assert half >= 0


@given(ROWS, st.floats(-3, 3))
def test_a_shift_of_every_token_is_certain(ours: list[RowLoss], shift: float) -> None:
    """
    Rows that all differ by the same per token leave no doubt; long rows are not noise.
    """
    theirs = [RowLoss(row.nats - shift * row.tokens, row.tokens) for row in ours]

    mean, half = interval(ours, theirs)

    assert shift == pytest.approx(mean, abs=1e-9)
    assert 0 == pytest.approx(half, abs=1e-6)


def test_the_interval_is_that_of_the_mean_for_rows_of_one_length() -> None:
    """
    With one token a row it is the textbook's: 1.96 standard deviations over the root of n.
    """
    changes = [1.0, -1.0, 3.0, 1.0]
    ours = [RowLoss(10 + change, 1) for change in changes]
    theirs = [RowLoss(10, 1)] * 4

    mean, half = interval(ours, theirs)

    assert 1 == mean
    assert 1.96 * math.sqrt(8 / 4) / math.sqrt(4) == pytest.approx(half)
    assert difference(ours, theirs).startswith("+10.00% (-3.86 to +23.86")
