"""
The control of a suite: its answers after the questions of other rows.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.examples import Example
from finetuned.data.reader import to_example
from finetuned.data.suite import Question, Suite
from finetuned.data.swapped import with_swapped_questions
from finetuned.errors import MalformedExample


def question(number: int, ask: str, answer: str, **more: Any) -> Question:
    """
    Return one row with one answer.
    """
    example = to_example({"prompt": ask, "completion": answer})
    return Question(str(number), example, "", ask, answer, **more)


def suite(*questions: Question) -> Suite:
    """
    Return a suite of held-out rows.
    """
    return Suite("heldout-a", SuiteOrigin.NEW, "a.jsonl", "a", questions, "a")


def turns(example: Example) -> list[str]:
    """
    Return what is said in it.
    """
    return [message["content"] for message in example.messages]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=8))
def test_each_answer_stands_after_another_question_of_another_answer(
    rows: list[tuple[str, str]],
) -> None:
    """
    A row without such another one takes no part; every other row does, once, under its id.
    """
    swapped = with_swapped_questions(
        suite(*(question(i, ask, answer) for i, (ask, answer) in enumerate(rows))), lambda _: None
    )

    found = {} if swapped is None else {int(q.id): turns(q.example) for q in swapped.questions}
    expected = {
        i for i, row in enumerate(rows) if any(r[0] != row[0] and r[1] != row[1] for r in rows)
    }
    assert expected == set(found)
    for i, (ask, answer) in found.items():
        assert answer == rows[i][1]
        assert ask != rows[i][0]
        assert any(r[0] == ask and r[1] != answer for r in rows)


def test_only_the_loss_of_a_swapped_row_is_taken() -> None:
    """
    The control asks for no answers.
    """
    swapped = with_swapped_questions(
        suite(question(1, "a", "x"), question(2, "b", "y")), lambda _: None
    )

    assert swapped is not None
    assert [False, False] == [q.generated for q in swapped.questions]


def test_rows_of_several_answers_or_choices_take_no_part() -> None:
    """
    Their loss is not that of one answer.
    """
    several = to_example(
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": "b"},
                {"role": "assistant", "content": "y"},
            ]
        }
    )

    assert (
        with_swapped_questions(
            suite(
                Question("1", several, "", "b", "y"),
                question(2, "c", "z", choices=("z", "w")),
                question(3, "d", "v"),
            ),
            lambda _: None,
        )
        is None
    )


def test_a_swapped_row_that_cannot_be_rendered_is_left_out() -> None:
    """
    The evaluation goes on without it.
    """

    def refuses_b(example: Example) -> None:
        if turns(example)[0] == "b":
            raise MalformedExample("too_long", "too long")

    swapped = with_swapped_questions(suite(question(1, "a", "x"), question(2, "b", "y")), refuses_b)

    assert swapped is not None
    assert ["2"] == [q.id for q in swapped.questions]
