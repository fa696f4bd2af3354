"""
What a training changed, and whether a file was needed: said only as surely as it is known.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.evidence import ItemPair, SuiteEvidence
from finetuned.core.worth import (
    Effect,
    Right,
    Worth,
    effect_of_counts,
    effect_of_pairs,
    mean_accuracy,
    needed,
    worth_of,
)


def suite(marks: list[tuple[bool, bool]]) -> SuiteEvidence:
    pairs = tuple(
        ItemPair(str(i), after, before, True, True, 1.0, 1.0, 4, str(i))
        for i, (before, after) in enumerate(marks)
    )
    return SuiteEvidence("s", "s.jsonl", "new", True, len(pairs), pairs, None)


counts = st.integers(1, 400).flatmap(lambda n: st.builds(Right, st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_the_interval_of_counts_holds_the_change_and_is_possible(before, after):
    """
    Between -100 and 100 points, with the change inside; no change of 8 rows is not sure.
    """
    effect = effect_of_counts("s", "s", "new", before=before, after=after)

    assert effect is not None
    assert -100.000001 <= effect.low <= effect.points + 1e-9
    assert effect.points - 1e-9 <= effect.high <= 100.000001
    assert effect.low < effect.high
    assert not effect.paired


def test_the_interval_of_counts_is_newcombes():
    """
    His example (1998, table II, case a): 56 of 70 against 48 of 80 is 20.0, 5.24 to 33.39.
    """
    effect = effect_of_counts("s", "s", "new", before=Right(48, 80), after=Right(56, 70))

    assert effect is not None
    assert (20.0, 5.24, 33.39) == pytest.approx((effect.points, effect.low, effect.high), abs=0.01)


def test_pairs_show_what_counts_cannot():
    """
    6 of 60 got better and none worse: by the same questions a gain, by counts alone none.
    """
    marks = [(False, True)] * 6 + [(True, True)] * 30 + [(False, False)] * 24
    paired = effect_of_pairs(suite(marks))
    counted = effect_of_counts("s", "s", "new", before=Right(30, 60), after=Right(36, 60))

    assert paired is not None
    assert counted is not None
    assert paired.shown
    assert not counted.shown
    assert 10.0 == pytest.approx(paired.points)


@pytest.mark.parametrize("before", [False, True])
def test_no_change_of_few_rows_is_not_a_sure_zero(before):
    """
    A bootstrap of equal differences has no spread: 0 to 0 for 4 rows would be a lie.
    """
    effect = effect_of_pairs(suite([(before, before)] * 4))

    assert effect is not None
    assert effect.low < -20
    assert effect.high > 20
    assert not effect.shown


def test_nothing_asked_is_no_effect():
    """
    Texts are only scored.
    """
    assert effect_of_pairs(suite([])) is None
    assert effect_of_counts("s", "s", "n", before=Right(0, 0), after=Right(1, 2)) is None


@pytest.mark.parametrize(
    ("before", "begin"),
    [
        (Right(60, 60), "it was hardly needed: 60 of 60"),
        (Right(3, 60), "there was something to learn in it: 3 of 60"),
        (Right(5, 5), "whether it was needed is not shown: 5 of 5"),
        (Right(0, 0), "whether it was needed is not known"),
    ],
)
def test_a_file_is_called_needless_only_if_that_is_shown(before, begin):
    """
    5 of 5 right may be luck.
    """
    assert needed(before).startswith(begin)


def test_two_sentences_of_one_file_do_not_contradict_each_other():
    """
    What is called known by its near rows is not called needed, nor unknown, beside it.
    """
    own = Effect("s", "s", "new", 20, 1.0, 1.0, -16.0, 16.0, paired=True)

    assert Worth.KNOWN is worth_of(own, near=0.83)
    said = needed(Right(20, 20), 0.83)
    assert said.startswith("it was hardly needed: 20 of 20")
    assert said.endswith("83% of its rows are near")


def test_intervals_hold_what_is_true_in_95_of_100_cases():
    """
    Coverage of Newcombe's interval on 2,000 simulated trainings from 40% to 55%.
    """
    dice = random.Random(0)
    held = 0
    for _ in range(2000):
        before = sum(dice.random() < 0.4 for _ in range(60))
        after = sum(dice.random() < 0.55 for _ in range(60))
        effect = effect_of_counts("s", "s", "n", before=Right(before, 60), after=Right(after, 60))
        assert effect is not None
        held += effect.low <= 15.0 <= effect.high

    assert 0.93 <= held / 2000 <= 0.98


def test_the_mean_is_over_suites():
    """
    A suite of 2 counts as much as one of 200; one that was not asked counts nothing.
    """
    assert 0.5 == mean_accuracy([Right(2, 2), Right(0, 200), Right(0, 0)])
    assert mean_accuracy([]) is None


@pytest.mark.parametrize(
    ("before", "after", "low", "high", "near", "worth"),
    [
        (0.0, 0.8, 63.0, 89.0, 0.0, Worth.GAIN),
        (0.8, 0.2, -80.0, -40.0, 0.0, Worth.HARM),
        (1.0, 1.0, -16.0, 16.0, 0.83, Worth.KNOWN),
        (1.0, 1.0, -16.0, 16.0, 0.1, Worth.UNSURE),  # 20 rows alone do not show it
        (1.0, 1.0, -16.0, 16.0, None, Worth.UNSURE),
        (0.5, 0.5, -16.0, 16.0, 0.83, Worth.UNSURE),  # near rows whose answers are wrong
        (0.0, 0.0, -16.0, 16.0, 0.0, Worth.NOTHING),
        (0.5, 0.5, -16.0, 16.0, 0.0, Worth.UNSURE),
    ],
)
def test_a_file_is_called_good_or_bad_only_if_that_is_shown(before, after, low, high, near, worth):
    """
    By the interval of the change; if it holds 0, by what was right before and after.
    """
    own = Effect("s", "s", "new", 20, before, after, low, high, paired=True)

    assert worth is worth_of(own, near=near)


def test_of_a_few_rows_nothing_is_called_learnt_or_not():
    """
    None of three right, before and after, is no evidence.
    """
    own = Effect("s", "s", "new", 3, 0.0, 0.0, -56.0, 56.0, paired=True)

    assert Worth.UNSURE is worth_of(own, near=0.0)
