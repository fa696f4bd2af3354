"""
The verdict on an export, from what version and export did with each item.
"""

import pytest

from finetuned.core.export.parity import (
    LIMITS,
    Asked,
    Stage,
    first_difference,
    items_needed,
    judge,
    lost_bound,
)
from finetuned.core.export.request import Quant


def asked(item, *, text="p", ids=(1, 2), answer=(3, 4), before=True, after=True):
    return Asked(
        suite="s",
        item=str(item),
        texts=("p", text),
        prompts=((1, 2), ids),
        answers=((3, 4), answer),
        correct=(before, after),
    )


def test_an_export_that_answers_the_same_everywhere_passes():
    """
    300 items without a difference show that less than one point is lost.
    """
    parity = judge([asked(i) for i in range(300)], Quant.Q8_0)

    assert parity.passed
    assert (300, 300, 300, None) == (
        parity.same_rendering,
        parity.same_ids,
        parity.same_answers,
        parity.first,
    )


def test_too_few_items_never_pass_and_the_reason_says_how_many_would():
    """
    What is not shown does not pass: 20 right answers do not show a loss below one point.
    """
    parity = judge([asked(i) for i in range(20)], Quant.Q8_0)

    assert not parity.passed
    assert f"{items_needed(1.0)} items" in parity.reason


def test_a_version_that_has_nothing_right_shows_nothing():
    """
    It has nothing to lose, so that any export of it, however broken, would pass.
    """
    parity = judge([asked(i, before=i < 4, after=i < 4) for i in range(500)], Quant.Q8_0)

    assert not parity.passed
    assert "only 4 of 500" in parity.reason


def test_nothing_marked_never_passes():
    """
    Missing evidence is no evidence.
    """
    assert not judge([], Quant.Q8_0).passed
    assert not judge([asked(i, before=None, after=None) for i in range(500)], Quant.Q8_0).passed


def test_a_lost_point_fails_q8_and_may_pass_four_bits():
    """
    The limits are 1 point at 8 bits and 2 points below.
    """
    items = [asked(i, after=i >= 6) for i in range(1000)]  # 0.6 points lost, 1.0 at most

    assert judge(items, Quant.Q4_K_M).passed
    assert not judge(items, Quant.Q8_0).passed


def test_answers_that_change_both_ways_are_no_loss():
    """
    The test is paired: what is gained makes up for what is lost.
    """
    lost = [asked(i, after=False) for i in range(3)]
    gained = [asked(i, before=False) for i in range(3, 6)]
    same = [asked(i) for i in range(6, 600)]

    parity = judge([*lost, *gained, *same], Quant.Q8_0)

    assert parity.passed
    assert (3, 3) == (parity.lost, parity.gained)


def test_the_first_divergence_is_the_earliest_stage_of_any_item():
    """
    A wrong template explains wrong ids, and wrong ids explain wrong answers.
    """
    items = [
        asked("a", answer=(3, 9), after=False),
        asked("b", ids=(1, 7, 2)),
        asked("c", text="px", ids=(1,)),
    ]
    assert (Stage.RENDERING, "c", 1) == _where(judge(items, Quant.Q8_0))
    assert (Stage.IDS, "b", 1) == _where(judge(items[:2], Quant.Q8_0))
    assert (Stage.ANSWER, "a", 1) == _where(judge(items[:1], Quant.Q8_0))


def _where(parity):
    return parity.first.stage, parity.first.item, parity.first.position


@pytest.mark.parametrize(
    ("one", "other", "at"),
    [("ab", "ab", None), ("ab", "abc", 2), ([1, 2], [1, 3], 1), ("", "", None)],
)
def test_the_first_difference_is_where_one_ends_or_they_differ(one, other, at):
    assert at == first_difference(one, other)


def test_the_bound_grows_with_what_is_lost_and_falls_with_more_items():
    assert lost_bound(0, 0, 100) > lost_bound(0, 0, 400) > 0
    assert lost_bound(5, 0, 400) > lost_bound(5, 5, 400) > lost_bound(0, 0, 400)


def test_every_precision_has_a_limit():
    assert set(Quant) == set(LIMITS)
