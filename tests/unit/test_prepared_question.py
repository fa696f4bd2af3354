"""
What of a question is generated, what is scored beside it, and how long an answer may get.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.scoring.scorer import CHOICE, Scorer
from finetuned.data.reader import to_example
from finetuned.data.suite import Question
from finetuned.data.training_sequence import TrainingSequence
from finetuned.inference.prepared import SPARE_AT_MOST, SPARE_TOKENS, PreparedQuestion

PROMPT = [1, 2, 3]


def prepared(
    ids: list[int], supervised: list[bool], *, scorer: str = "exact", **facts: Any
) -> PreparedQuestion:
    example = to_example({"prompt": "q", "completion": "a"})
    question = Question("1", example, "", "q", "a", Scorer(scorer), **facts)
    first = TrainingSequence([9, 9], [False, True])
    return PreparedQuestion(question, PROMPT, [first, TrainingSequence(ids, supervised)])


def test_an_expected_answer_after_the_prompt_is_scored_while_it_is_generated() -> None:
    """
    The sequences before it, earlier turns, need a pass of their own.
    """
    one = prepared([1, 2, 3, 4, 5], [False, False, False, True, False])

    assert [(4, True), (5, False)] == one.continuation()
    assert [9, 9] == [*one.other_sequences()[0].input_ids]
    assert len(one.other_sequences()) == 1
    assert one.golden_tokens == 1


@pytest.mark.parametrize(
    ("ids", "supervised"),
    [
        ([1, 2, 4, 5], [False, False, False, True]),
        ([1, 2, 3, 4], [False, True, False, True]),
        ([1, 2], [False, True]),
    ],
    ids=["other tokens", "an answer in the prompt", "shorter than the prompt"],
)
def test_a_sequence_that_does_not_go_on_from_the_prompt_has_its_own_pass(
    ids: list[int], supervised: list[bool]
) -> None:
    """
    Its loss would be another one.
    """
    one = prepared(ids, supervised)

    assert [] == one.continuation()
    assert len(one.other_sequences()) == 2
    assert one.is_generated


def test_a_row_without_an_answer_is_generated_and_not_scored() -> None:
    """
    Its last turn is a placeholder.
    """
    one = prepared([1, 2, 3, 4], [False, False, False, True], scored=False)

    assert one.is_generated
    assert [] == one.continuation() == one.other_sequences()


def test_choices_are_scored_beside_and_nothing_is_generated() -> None:
    """
    The row holds the right choice as its answer.
    """
    one = prepared(
        [1, 2, 3, 4], [False] * 3 + [True], scorer=CHOICE, expected=0, choices=("a", "b")
    )

    assert one.is_choice
    assert not one.is_generated
    assert [] == one.continuation()
    assert len(one.other_sequences()) == 2


@given(golden=st.integers(0, 2000), most=st.integers(1, 1000))
def test_a_right_answer_is_never_cut_and_a_wrong_one_is_not_waited_for(
    golden: int, most: int
) -> None:
    """
    Twice the expected length and 16 tokens at most, and no more than the general limit.
    """
    one = prepared([0] * (golden + 3), [False] * 3 + [True] * golden)

    longest = one.longest_answer(most)

    assert golden + SPARE_TOKENS <= longest or longest == most > golden
    assert longest <= max(most, golden + SPARE_TOKENS)
    assert longest <= golden + min(golden, SPARE_AT_MOST) + SPARE_TOKENS


@pytest.mark.parametrize("scorer", ["contains", "regex", "f1", "numeric"])
def test_scorers_that_look_into_a_text_let_it_be_long(scorer: str) -> None:
    """
    A right answer may be much longer than the expected one there.
    """
    one = prepared([1, 2, 3, 4], [False] * 3 + [True], scorer=scorer, expected="a")

    assert one.longest_answer(500) == 500
