"""
When a generated answer counts as right.

The one place that knows about reasoning tags: they are never part of an answer.
"""

from __future__ import annotations

import re

_THINK = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_UNCLOSED_THINK = re.compile(r"\A\s*<think>.*\Z", re.DOTALL)


def final_answer(text: str) -> str:
    """
    Return *text* without its reasoning block and surrounding white space.

    A reasoning block that was never closed leaves nothing: the model did not
    get to its answer.
    """
    return _UNCLOSED_THINK.sub("", _THINK.sub("", text, count=1), count=1).strip()


def matches(answer: str, golden: str) -> bool:
    """
    Return whether *answer* equals the expected one exactly, reasoning aside.
    """
    return final_answer(answer) == final_answer(golden)


def count_think_tags(text: str) -> int:
    """
    Return how many reasoning blocks *text* opens.
    """
    return text.count("<think>")
