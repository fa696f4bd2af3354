"""
A loaded model asked rows that were trained, for what it answers wrong (sources/correction/).

Rows are asked and marked as held-out rows are: greedily, freely, and right only if the answer is
the expected one. Does not know which rows, nor where the corrections go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from finetuned.config import EvaluationConfig
from finetuned.data.examples import Example
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.errors import MalformedExample
from finetuned.inference.ask import ask
from finetuned.inference.outcome import Outcome
from finetuned.model.types import LanguageModel
from finetuned.sources.augment import KeptOut
from finetuned.sources.correction import Answered, Collector


def answered(outcome: Outcome) -> Answered | None:
    """
    Return what became of a row that was asked; None if there was no time for it.

    The token that ends an answer counts on both sides: an answer that was cut has none.
    """
    if outcome.grade is None or outcome.answer is None:
        return None
    return Answered(
        outcome.question.id,
        outcome.answer,
        outcome.grade.correct,
        outcome.answer_tokens + outcome.stopped,
        outcome.golden_tokens,
    )


def collector(
    model: LanguageModel,
    renderer: Renderer,
    config: EvaluationConfig,
    *,
    name: str,
    kept_out: KeptOut,
    max_examples: int,
    deadline: float,
    on_progress: Callable[[], None] | None = None,
    on_answered: Callable[[int], None] | None = None,
) -> Collector:
    """
    Return what asks *model* and makes corrections of its wrong answers.

    Args:
        model: Loaded.
        renderer: Of its tokenizer and template; rows longer than it renders are not made.
        config: How long an answer may be, and how many are given together.
        name: What people call the model.
        kept_out: What suites and held-out rows ask.
        max_examples: Most rows that are made.
        deadline: Until when is asked, on the clock of time.monotonic.
        on_progress: Called often while the model works; its exceptions end the asking.
        on_answered: Called with the number of rows that were asked since the last call.
    """

    def asked(questions: Sequence[Question]) -> Iterator[Answered]:
        for outcome in ask(
            model,
            renderer,
            questions,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            deadline=deadline,
            reasoning=config.reasoning,
            on_progress=on_progress,
            on_answered=on_answered,
        ):
            if (found := answered(outcome)) is not None:
                yield found

    def refusal(example: Example) -> str | None:
        try:
            renderer.render(example)
        except MalformedExample as error:
            return error.code
        return None

    return Collector(asked, renderer.golden, refusal, kept_out, name, max_examples)
