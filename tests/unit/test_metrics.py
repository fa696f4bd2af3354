import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.metrics import mean_loss, trend, wilson_interval


def test_splitting_the_corpus_differently_changes_nothing():
    """
    Token-weighted means do not see example boundaries.
    """
    rng = random.Random(0)
    nll = [rng.expovariate(1) for _ in range(100)]

    assert mean_loss([sum(nll)], [100]) == pytest.approx(mean_loss(nll, [1] * 100))


def test_no_predicted_token_is_an_error_and_not_zero():
    """
    A mean over nothing does not exist.
    """
    with pytest.raises(ValueError, match="no predicted tokens"):
        mean_loss([], [])


def test_the_interval_matches_the_published_example():
    """
    81 of 263 gives 0.2553 to 0.3662 (Newcombe 1998, table I, method 3).
    """
    low, high = wilson_interval(81, 263)

    assert (0.2553, 0.3662) == (round(low, 4), round(high, 4))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_estimate(counts):
    """
    Bounds stay between 0 and 1, around the observed share.
    """
    k, n = counts
    low, high = wilson_interval(k, n)

    assert 0 <= low <= k / n <= high <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1, 1], "stable"),
        ([4, 3, 2, 1], "improving"),
        ([1, 2, 3, 4], "degrading"),
        ([], "stable"),
    ],
)
def test_a_falling_loss_is_improving(values, expected):
    """
    Where lower is better, down is good.
    """
    assert expected == trend(values, tolerance=0.1, higher_is_better=False)
