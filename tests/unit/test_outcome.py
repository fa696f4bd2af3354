"""
How what a model did is marked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from finetuned.core.answer import KEEP, REFUSE
from finetuned.core.scoring.scorer import CHOICE, Scorer
from finetuned.data.reader import to_example
from finetuned.data.suite import Question
from finetuned.inference.outcome import Raw, mark

RAW = Raw("yes", 1.5, 3, 3, 2, stopped=True, timed_out=False, seconds=0.1)


def question(golden: str | None = "yes", scorer: str = "exact", **facts: Any) -> Question:
    example = to_example({"prompt": "q", "completion": golden or "."})
    return Question("1", example, "", "q", golden, Scorer(scorer), **facts)


def test_an_equal_answer_that_stopped_is_right_and_exact() -> None:
    """
    The numbers of what the model did are kept beside the mark.
    """
    found = mark(question(), RAW)

    assert (True, True, "yes") == (found.correct, found.matches, found.answer)
    assert (1.5, 3, 3, 2) == (
        *(found.loss_sum, found.n_tokens),
        *(found.golden_tokens, found.answer_tokens),
    )


def test_an_answer_that_did_not_stop_may_be_right_and_is_not_exact() -> None:
    """
    Exact is what would be shown to a user: the text and its end.
    """
    found = mark(question(), replace(RAW, stopped=False))

    assert (True, False) == (found.correct, found.matches)


@pytest.mark.parametrize("text", ["yes", "no", ""])
def test_an_answer_that_time_cut_has_no_mark(text: str) -> None:
    """
    Whatever its text is so far: it is neither right nor wrong.
    """
    found = mark(question(), replace(RAW, text=text, timed_out=True, stopped=False))

    assert (text, None, None, None) == (found.answer, found.grade, found.correct, found.matches)


def test_a_text_is_only_scored() -> None:
    """
    There is neither an answer nor a mark.
    """
    found = mark(question(golden=None), replace(RAW, text=None))

    assert (None, None, None) == (found.answer, found.correct, found.matches)


@pytest.mark.parametrize(
    ("reasoning", "correct"), [("strip", True), (REFUSE, False), (KEEP, False)]
)
def test_a_reasoning_block_counts_as_the_policy_says(reasoning: str, correct: bool) -> None:
    """
    It is taken off, makes the answer wrong, or is read as text.
    """
    found = mark(question(), replace(RAW, text="<think>so</think>yes"), reasoning)

    assert correct is found.correct


def test_an_expected_value_replaces_the_golden_answer() -> None:
    """
    The scorer compares with it.
    """
    asked = question("yes", "contains", expected=["needle"])

    assert mark(asked, RAW).correct is False
    assert mark(asked, replace(RAW, text="a needle")).correct is True


@pytest.mark.parametrize(
    ("per_token", "choices", "chosen"),
    [
        (False, ((-4.0, 8), (-3.0, 1)), "b"),
        (True, ((-4.0, 8), (-3.0, 1)), "a"),
        (False, ((-1.0, 8), (-3.0, 1)), "a"),
    ],
)
def test_the_likeliest_choice_is_the_answer(
    per_token: bool, choices: tuple[tuple[float, int], ...], chosen: str
) -> None:
    """
    By the sum of log-likelihoods, or by their mean per token.
    """
    asked = replace(
        question("a", CHOICE, expected=0, choices=("a", "b")),
        scorer=Scorer(CHOICE, {"per_token": per_token}),
    )
    found = mark(asked, replace(RAW, text=None, choices=choices))

    assert chosen == found.answer
    assert (chosen == "a") is found.correct is found.matches


def test_choices_that_were_not_reached_have_no_mark() -> None:
    """
    Without likelihoods there is no answer.
    """
    asked = question("a", CHOICE, expected=0, choices=("a", "b"))
    found = mark(asked, replace(RAW, text=None, timed_out=True, stopped=False))

    assert (None, None, None) == (found.answer, found.correct, found.matches)
    assert mark(asked, replace(RAW, text=None)).correct is None
