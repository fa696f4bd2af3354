import pytest

from finetuned.core.answer import final_answer, matches


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("42", "42"),
        (" 42\n", "42"),
        ("<think>\n\n</think>\n\n42", "42"),
        ("<think>so 40 and 2</think>42", "42"),
        ("<think>never ends", ""),
        ("a <think> inside", "a <think> inside"),
    ],
)
def test_reasoning_is_never_part_of_the_answer(text, answer):
    """
    Closed blocks are dropped; one that never closed leaves no answer.
    """
    assert answer == final_answer(text)


def test_a_match_is_exact():
    """
    Near is not right.
    """
    assert matches("<think>x</think>ok", "ok")
    assert not matches("ok.", "ok")
