"""
Questions and what a model did with them, made by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from finetuned.core.scoring.scorer import Scorer
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.reader import to_example
from finetuned.data.suite import Question, Suite
from finetuned.evaluation.measured import Measured
from finetuned.inference.outcome import Raw, mark

RAW = Raw("yes", 1.5, 3, 3, 2, stopped=True, timed_out=False, seconds=0.1)
"""A right answer to the questions of make_suite()."""


def make_suite(name: str, n: int, origin: SuiteOrigin, *, scorer: str = "exact") -> Suite:
    """
    Return a suite whose items all expect "yes".
    """
    example = to_example({"prompt": "q", "completion": "yes"})
    questions = [Question(str(i), example, "", f"q {i}", "yes", Scorer(scorer)) for i in range(n)]
    return Suite(name, origin, f"{name}.jsonl", "0" * 64, tuple(questions))


def measure(suite: Suite, texts: Sequence[str | None], **facts: Any) -> Measured:
    """
    Return what a model did that answers *texts*; None is an item that was not asked.

    Args:
        suite: From make_suite().
        texts: One for each item.
        facts: Fields of Raw.
    """
    outcomes = {
        question.id: mark(question, replace(RAW, text=text, **facts))
        for question, text in zip(suite.questions, texts, strict=True)
        if text is not None
    }
    return Measured(suite, outcomes, n_cached=0, seconds=1.0)
