"""
The answer in a generated text: reasoning blocks removed, refused or kept.

The one place that knows reasoning tags. The policy says whether a reasoning block is
removed (``strip``), makes the answer wrong (``refuse``), or is text like any other (``keep``).
"""

from __future__ import annotations

import re
from typing import Final

STRIP: Final = "strip"
REFUSE: Final = "refuse"
KEEP: Final = "keep"
REASONING: Final = (STRIP, REFUSE, KEEP)
"""The policies for a reasoning block; ``evaluation.reasoning`` chooses one."""

_THINK = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_UNCLOSED_THINK = re.compile(r"\A\s*<think>.*\Z", re.DOTALL)
_EMPTY_THINK = re.compile(r"\A\s*<think>\s*</think>", re.DOTALL)


def final_answer(text: str, reasoning: str = STRIP) -> str:
    """
    Return *text* without its reasoning block and surrounding white space.

    A reasoning block that was never closed leaves nothing: the model did not
    get to its answer.

    Args:
        text: As generated, without special tokens.
        reasoning: One of REASONING; KEEP removes white space only.
    """
    if reasoning == KEEP:
        return text.strip()
    _, text = _after_opened_block(text)
    return _UNCLOSED_THINK.sub("", _THINK.sub("", text, count=1), count=1).strip()


def is_refused(text: str, reasoning: str) -> bool:
    """
    Return whether the policy makes *text* wrong whatever it answers.

    An empty block, which some templates write themselves, is allowed.
    """
    if reasoning != REFUSE:
        return False
    before, text = _after_opened_block(text)
    return bool(before.strip()) or count_think_tags(_EMPTY_THINK.sub("", text, count=1)) > 0


def _after_opened_block(text: str) -> tuple[str, str]:
    """
    Return the rest of a block that the prompt opened, and what follows it.

    Some templates end the prompt with ``<think>``; the model then writes only the closing tag.
    """
    before, closing, after = text.partition("</think>")
    return (before, after) if closing and "<think>" not in before else ("", text)


def matches(answer: str, golden: str) -> bool:
    """
    Return whether *answer* equals the expected one exactly, without reasoning.
    """
    return final_answer(answer) == final_answer(golden)


def count_think_tags(text: str) -> int:
    """
    Return how many reasoning blocks *text* opens.
    """
    return text.count("<think>")
