"""
What of a generated text is the answer.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config import EvaluationConfig
from finetuned.core.answer import (
    KEEP,
    REASONING,
    REFUSE,
    STRIP,
    count_think_tags,
    final_answer,
    is_refused,
    matches,
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        (" 42\n", "42"),
        ("<think>\n\n</think>\n\n42", "42"),
        ("<think>so 40 and 2</think>42", "42"),
        ("\n <think>a</think> 42", "42"),
        ("<think>never ends", ""),
        ("<think>a</think><think>b", ""),
        ("a <think> inside", "a <think> inside"),
        ("42 <think>late</think>", "42 <think>late</think>"),
        ("<think>a</think>42</think>", "42</think>"),
        ("so\n</think>\n\n42", "42"),
        ("\n</think>\n\n42</think>", "42</think>"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("policy", [STRIP, REFUSE])
def test_reasoning_is_never_part_of_the_answer(text, answer, policy):
    """
    Closed blocks are dropped; one that never closed leaves no answer.
    """
    assert answer == final_answer(text, policy)


@given(st.text())
def test_a_kept_block_is_text_like_any_other(text):
    """
    With "keep" only white space goes.
    """
    whole = f"<think>{text}</think> 42\n"

    assert f"<think>{text}</think> 42" == final_answer(whole, KEEP)
    assert text.strip() == final_answer(text, KEEP)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("42", False),
        ("<think>\n\n</think>\n\n42", False),
        ("<think></think>42", False),
        ("<think>so</think>42", True),
        ("<think>never ends", True),
        ("42 <think>late</think>", True),
        ("so\n</think>\n\n42", True),
        ("\n</think>\n\n42", False),
        ("<think></think><think>so</think>42", True),
    ],
)
def test_only_the_policy_refuse_makes_reasoning_wrong(text, reasons):
    """
    An empty block, which templates write themselves, is no reasoning.
    """
    assert reasons == is_refused(text, REFUSE)
    assert not is_refused(text, STRIP)
    assert not is_refused(text, KEEP)


@given(st.text(alphabet="<think>/ ab\n", max_size=200), st.sampled_from(REASONING))
def test_the_answer_of_an_answer_under_keep_is_itself(text, policy):
    """
    Whatever is left has no white space around it, and no text makes it fail.
    """
    answer = final_answer(text, policy)

    assert answer == answer.strip() == final_answer(answer, KEEP)
    assert len(answer) <= len(text)


def test_long_hostile_texts_take_no_time():
    """
    A megabyte of unclosed tags is read once.
    """
    assert "" == final_answer("<think>" * 150_000)
    assert 150_000 == count_think_tags("<think>" * 150_000)


def test_the_configuration_knows_the_same_policies():
    """
    What may be configured is what is implemented.
    """
    assert list(REASONING) == [EvaluationConfig(reasoning=r).reasoning for r in REASONING]
    assert EvaluationConfig().reasoning == STRIP


def test_a_match_is_exact():
    """
    Near is not right.
    """
    assert matches("<think>x</think>ok", "ok")
    assert not matches("ok.", "ok")
