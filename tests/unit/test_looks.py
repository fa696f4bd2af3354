"""
What many looks may spend together.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.looks import level_of_look, spent


@given(st.floats(0.001, 0.5), st.integers(1, 2000))
def test_what_is_spent_is_the_sum_of_the_levels_and_never_all(alpha, looks):
    """
    However many looks there are, something of alpha is left.
    """
    total = math.fsum(level_of_look(alpha, k) for k in range(1, looks + 1))

    assert total == pytest.approx(spent(alpha, looks), rel=1e-9)
    assert spent(alpha, looks) < alpha


def test_each_look_is_stricter_than_the_one_before():
    """
    Half, a sixth, a twelfth, a twentieth.
    """
    assert [2, 6, 12, 20] == [round(1 / level_of_look(1, k)) for k in (1, 2, 3, 4)]
    assert 0.0 == spent(0.05, 0)


@pytest.mark.parametrize("look", [0, -1])
def test_there_is_no_look_before_the_first(look):
    """
    A count that starts at 0 would divide by it.
    """
    with pytest.raises(ValueError, match="counted from 1"):
        level_of_look(0.05, look)
