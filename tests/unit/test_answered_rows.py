"""
What became of a trained row that was asked again (evaluation/corrections.py).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from finetuned.core.mistakes import Code, mistakes_of
from finetuned.data.reader import to_example
from finetuned.data.suite import Question
from finetuned.evaluation.corrections import answered
from finetuned.inference.outcome import Raw, mark

QUESTION = Question("1", to_example({"prompt": "2 + 9 =", "completion": "11"}), "", "", "11")
RAW = Raw(
    text="13",
    loss_sum=0.0,
    n_tokens=3,
    golden_tokens=3,  # two digits, and the token that ends the answer
    answer_tokens=2,  # as generated: without it
    stopped=True,
    timed_out=False,
    seconds=0.0,
)


@pytest.mark.parametrize(("stopped", "short"), [(True, None), (False, 1)])
def test_the_token_that_ends_an_answer_counts_on_both_sides(
    stopped: bool, short: int | None
) -> None:
    """
    An answer of as many tokens is neither short nor long; one that was cut lacks its end.
    """
    found = answered(mark(QUESTION, replace(RAW, stopped=stopped)))

    assert found is not None
    mistakes = mistakes_of(
        found.answer,
        "11",
        answer_tokens=found.answer_tokens,
        expected_tokens=found.expected_tokens,
    )
    assert {m.code: m.n for m in mistakes}.get(Code.SHORT_BY) == short
    assert Code.LONG_BY not in {m.code for m in mistakes}


def test_an_answer_that_a_time_limit_cut_is_none() -> None:
    """
    How fast a machine is says nothing of the model.
    """
    assert answered(mark(QUESTION, replace(RAW, timed_out=True))) is None
