"""
The canaries of the checkout: what any fine-tuned model can keep, whatever it was trained on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.scoring.grade import grade
from finetuned.data.suite import load_suite

SHIPPED = load_suite(Path(__file__).parents[2] / "benchmarks" / "canaries.jsonl").questions

ANSWERS = (
    '{"action":"none","reason":"question"}',
    "42",
    "SYL-LA-BLE",
    "I am fine, thank you.",
    "\u65e5\u672c",
)
"""Of models that were trained on commands, sums, puzzles, conversations, another language."""


@pytest.mark.parametrize("question", SHIPPED, ids=lambda q: q.id)
@given(answer=st.sampled_from(ANSWERS) | st.text().filter(str.strip))
def test_a_model_that_answers_keeps_every_canary(question, answer: str) -> None:
    """
    Training on something else must not look like damage.
    """
    assert grade(question.scorer, answer, question.expected).correct


@pytest.mark.parametrize("question", SHIPPED, ids=lambda q: q.id)
@pytest.mark.parametrize("answer", ["", "  ", "\n\t\n"])
def test_a_model_that_answers_nothing_loses_every_canary(question, answer: str) -> None:
    """
    Each of them guards against that.
    """
    assert not grade(question.scorer, answer, question.expected).correct
