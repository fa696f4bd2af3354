"""
Held-out rows in, answers and losses out: what every evaluation is made of.

Used while training and for the final report, so that both see the same token
ids and count a match the same way. Does not know versions or gates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetuned.core.answer import final_answer, matches
from finetuned.data.examples import Example, from_record
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.model.generate import answering, generate
from finetuned.model.score import summed_loss

SPARE_TOKENS = 16
"""How much longer than twice the expected answer a generated one may get: past that it is wrong."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    One held-out row, ready to be asked.
    """

    id: str
    example: Example
    system: str
    prompt: str
    golden: str | None
    """The expected answer, or None for language modelling rows, which are only scored."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a model made of one question.
    """

    question: Question
    answer: str | None
    matches: bool | None
    """None where there is nothing to generate."""
    loss_sum: float
    """Summed over supervised tokens, in nats."""
    n_tokens: int
    golden_tokens: int
    answer_tokens: int
    stopped: bool
    """Whether the answer ended in a stop token."""
    timed_out: bool


def questions_of(dataset: TokenisedDataset) -> list[Question]:
    """
    Return the held-out rows of a dataset as questions, in file order.
    """
    return [
        Question(
            id=row["id"],
            example=from_record(row),
            system=row["system"] or "",
            prompt=row["prompt"] or "",
            golden=row["golden"],
        )
        for row in dataset.heldout()
    ]


def ask(
    model: Any,
    renderer: Renderer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
    deadline: float,
    on_progress: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """
    Yield the outcome of each question, shortest prompts first, until the deadline.

    A batch that the deadline cuts is yielded with what it had; later questions
    are not yielded at all, so a caller sees that they are missing.

    Args:
        model: A causal language model.
        renderer: Of the model's own tokenizer and template.
        questions: Any number.
        max_new_tokens: Longest answer, in tokens.
        batch_size: Questions generated together.
        deadline: On the clock of time.monotonic, in seconds.
        on_progress: Called after every generated position and every batch.
    """
    prepared = sorted(
        ((_prompt_ids(renderer, q), q) for q in questions), key=lambda pair: len(pair[0])
    )
    with answering(model):
        for start in range(0, len(prepared), batch_size):
            if time.monotonic() >= deadline:
                return
            yield from _ask_batch(
                model,
                renderer,
                prepared[start : start + batch_size],
                max_new_tokens,
                deadline,
                on_progress,
            )
            if on_progress is not None:
                on_progress()


def _prompt_ids(renderer: Renderer, question: Question) -> list[int]:
    return [] if question.golden is None else renderer.prompt_ids(question.example)


def _ask_batch(
    model: Any,
    renderer: Renderer,
    batch: Sequence[tuple[list[int], Question]],
    max_new_tokens: int,
    deadline: float,
    on_progress: Callable[[], None] | None,
) -> Iterator[Outcome]:
    sequences = [renderer.render(q.example) for _, q in batch]
    flat = [(s.input_ids, s.supervised) for group in sequences for s in group]
    losses = iter(summed_loss(model, flat, renderer.pad_token_id))
    sums = [[next(losses) for _ in group] for group in sequences]
    golden_tokens = [sum(group[-1].supervised) for group in sequences]
    asked = [(ids, n) for (ids, q), n in zip(batch, golden_tokens, strict=True) if ids]
    answers = iter(
        generate(
            model,
            [ids for ids, _ in asked],
            stop_token_ids=renderer.stop_token_ids,
            pad_token_id=renderer.pad_token_id,
            max_new_tokens=min(max_new_tokens, 2 * max(n for _, n in asked) + SPARE_TOKENS),
            deadline=deadline,
            on_token=on_progress,
        )
        if asked
        else ()
    )
    for (ids, question), pairs, n_golden in zip(batch, sums, golden_tokens, strict=True):
        answer = next(answers) if ids else None
        text = None if answer is None else renderer.decode(answer.ids)
        yield Outcome(
            question=question,
            answer=None if text is None else final_answer(text),
            matches=None
            if answer is None or text is None
            else answer.stopped and matches(text, question.golden or ""),
            loss_sum=sum(nll for nll, _ in pairs),
            n_tokens=sum(n for _, n in pairs),
            golden_tokens=n_golden,
            answer_tokens=0 if answer is None else len(answer.ids),
            stopped=answer is not None and answer.stopped,
            timed_out=answer is not None and answer.timed_out,
        )
