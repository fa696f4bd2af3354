"""
Version and export asked the same items: rendered prompt, token ids, greedy answer, mark.

The version is asked as the evaluation asks it. Does not decide: see core.export.parity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from finetuned.core.export.parity import Asked
from finetuned.data.examples import Example
from finetuned.data.render import Renderer
from finetuned.errors import MalformedExample
from finetuned.export.items import Item
from finetuned.inference.outcome import Raw, mark

if TYPE_CHECKING:
    from finetuned.config import EvaluationConfig
    from finetuned.model.types import LanguageModel

OnItem = Callable[[int], object]
"""Told how many items more are done."""


class Exported(Protocol):
    """
    An exported model that answers.
    """

    def render(self, example: Example) -> str:
        """Return the prompt of an example's last turn."""

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a prompt."""

    def answer(self, text: str, max_tokens: int) -> tuple[list[int], str]:
        """Return token ids and text of the greedy answer."""


@dataclass(frozen=True, slots=True)
class Reference:
    """
    What the version did with one item.
    """

    item: Item
    text: str
    prompt: list[int]
    answer: list[int]
    correct: bool | None
    max_tokens: int
    """Longest answer that was allowed."""


def ask_version(
    model: LanguageModel,
    renderer: Renderer,
    items: Sequence[Item],
    config: EvaluationConfig,
    on_item: OnItem,
) -> list[Reference]:
    """
    Return what the version does with each item; those that its template does not take are left out.
    """
    from finetuned.inference.generate import generate

    asked = [(item, *prompt) for item in items if (prompt := _prompt(renderer, item)) is not None]
    longest = [_longest(renderer, item, config) for item, _, _ in asked]
    found: list[Reference] = []
    size = max(1, config.batch_size)
    for start in range(0, len(asked), size):
        part = asked[start : start + size]
        answers = generate(
            model,
            [ids for _, _, ids in part],
            stop_token_ids=renderer.stop_token_ids,
            pad_token_id=renderer.pad_token_id,
            max_new_tokens=longest[start : start + size],
            deadline=math.inf,
            batch_size=size,
        )
        for (item, text, ids), answer, limit in zip(
            part, answers, longest[start : start + size], strict=True
        ):
            correct = _mark(item, renderer.decode(answer.ids), answer.ids, answer.stopped)
            found.append(Reference(item, text, ids, answer.ids, correct, limit))
        on_item(len(part))
    on_item(len(items) - len(asked))
    return found


def ask_export(
    exported: Exported,
    references: Sequence[Reference],
    stop_token_ids: Collection[int],
    on_item: OnItem,
) -> list[Asked]:
    """
    Return what version and export did with each item.
    """
    found = []
    for known in references:
        text = exported.render(known.item.question.example)
        ids = exported.ids(text)
        answer, written = exported.answer(text, known.max_tokens)
        stopped = len(answer) < known.max_tokens or (bool(answer) and answer[-1] in stop_token_ids)
        while answer and answer[-1] in stop_token_ids:
            answer = answer[:-1]
        found.append(
            Asked(
                suite=known.item.suite,
                item=known.item.question.id,
                texts=(known.text, text),
                prompts=(known.prompt, ids),
                answers=(known.answer, answer),
                correct=(known.correct, _mark(known.item, written, answer, stopped)),
            )
        )
        on_item(1)
    return found


def _prompt(renderer: Renderer, item: Item) -> tuple[str, list[int]] | None:
    try:
        renderer.render(item.question.example)
        text = renderer.template.last_turn(item.question.example).prompt
        return text, renderer.prompt_ids(item.question.example)
    except MalformedExample:
        return None


def _longest(renderer: Renderer, item: Item, config: EvaluationConfig) -> int:
    golden = item.question.golden
    tokens = 0 if golden is None else len(renderer.answer_ids(item.question.example, golden))
    return max(config.max_new_tokens, tokens)


def _mark(item: Item, text: str, ids: Sequence[int], stopped: bool) -> bool | None:
    raw = Raw(
        text=text,
        loss_sum=0.0,
        n_tokens=0,
        golden_tokens=0,
        answer_tokens=len(ids),
        stopped=stopped,
        timed_out=False,
        seconds=0.0,
    )
    return mark(item.question, raw).correct
