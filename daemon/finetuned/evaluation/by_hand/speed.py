"""
The speed of two models, compared in one run on one machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.data.suite import Question, Suite
from finetuned.evaluation.by_hand.examination import Examination
from finetuned.inference.generate import generate

SPEED_ITEMS: Final = 32
"""Most prompts on which the speed of two models is compared."""

_SPEED_TOKENS: Final = 64
"""Tokens generated for each prompt, whatever the model says."""

_NO_TOKEN: Final = -1
"""A stop token that no model generates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speeds:
    """
    How fast two models generate the same number of tokens for the same prompts.
    """

    a: float | None
    """Generated tokens per second; None if there is no prompt."""
    b: float | None
    n_items: int
    """Prompts."""
    n_tokens: int
    """Tokens generated for each prompt."""
    rounds: int
    """Times that each model generates all of them."""


def measure_speed(one: Examination, other: Examination, suites: Sequence[Suite]) -> Speeds:
    """
    Measure how fast two models generate, side by side. Other comparisons are not valid.

    The models take turns (one, other, other, one), so that a machine that becomes slower
    meanwhile slows both alike. No answer is taken from the store.

    Args:
        one, other: Their models are loaded in turns; they may share one Models.
        suites: Prompts are taken from all of them in turn, SPEED_ITEMS together.
    """
    questions = _sample(suites)
    tokens = min(_SPEED_TOKENS, one.config.evaluation.max_new_tokens)
    made, seconds = {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    turns = (("a", one), ("b", other), ("b", other), ("a", one)) if questions else ()
    for key, examination in turns:
        prompts = [examination.renderer.prompt_ids(q.example) for q in questions]
        _generate(examination, prompts[:1], 2)  # warms up
        began = time.monotonic()
        made[key] += _generate(examination, prompts, tokens)
        seconds[key] += time.monotonic() - began
    return Speeds(
        a=made["a"] / seconds["a"] if seconds["a"] else None,
        b=made["b"] / seconds["b"] if seconds["b"] else None,
        n_items=len(questions),
        n_tokens=tokens,
        rounds=2,
    )


def _generate(examination: Examination, prompts: list[list[int]], tokens: int) -> int:
    """Generate *tokens* tokens for each prompt and return how many there were in all."""
    evaluation = examination.config.evaluation
    answers = generate(
        examination.load(),
        prompts,
        stop_token_ids={_NO_TOKEN},
        pad_token_id=examination.renderer.pad_token_id,
        max_new_tokens=tokens,
        deadline=time.monotonic() + evaluation.suite_timeout_seconds,
        batch_size=evaluation.batch_size,
    )
    return sum(len(answer.ids) for answer in answers)


def _sample(suites: Sequence[Suite]) -> list[Question]:
    """Return the questions whose prompts are used, from all suites in turn."""
    pools = [[q for q in s.questions if q.example.kind != "text"] for s in suites]
    longest = max(map(len, pools), default=0)
    turns = [pool[i] for i in range(longest) for pool in pools if i < len(pool)]
    return turns[:SPEED_ITEMS]
