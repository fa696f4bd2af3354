"""
Questions in, marked answers and losses out: every evaluation is made of this.

Live evals during training and eval reports both use it, so that they see the same token
ids and mark an answer the same way. Does not know versions, suites or gates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from finetuned.core.answer import STRIP
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.data.training_sequence import TrainingSequence
from finetuned.inference.cached_lm import CachedLM, answering
from finetuned.inference.choices import choice_scores
from finetuned.inference.generate import answer_and_score
from finetuned.inference.outcome import Outcome, Raw, mark
from finetuned.inference.pending import Answer
from finetuned.inference.prepared import PreparedQuestion
from finetuned.inference.score import summed_loss
from finetuned.model.types import LanguageModel

if TYPE_CHECKING:
    from finetuned.inference.guide import Guard

_BATCHES_AT_ONCE: Final = 8
"""Most batches whose common beginning is computed once; their outcomes are yielded together."""

_PART_SECONDS: Final = 10.0
"""A part that took longer is not followed by a larger one, so that little is lost by a stop."""

_Loss = tuple[float, int]
"""Summed loss in nats, and the number of tokens it is summed over."""


def ask(
    model: LanguageModel,
    renderer: Renderer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
    deadline: float,
    item_seconds: float | None = None,
    reasoning: str = STRIP,
    on_progress: Callable[[], None] | None = None,
    on_answered: Callable[[int], None] | None = None,
) -> Iterator[Outcome]:
    """
    Yield the outcome of each question, shortest prompts first, until the deadline.

    Questions are asked in parts: first one batch, then twice as many as before while that is
    quick. A part that was begun before the deadline is yielded as far as it got; later
    questions are not yielded.

    Args:
        model: Left in the mode it was in.
        renderer: Of the model's own tokenizer and template.
        questions: Any number.
        max_new_tokens: Longest answer, in tokens.
        batch_size: Questions generated together.
        deadline: On the clock of time.monotonic, in seconds.
        item_seconds: Longest time one answer may take; None sets no limit but the deadline.
        reasoning: How a reasoning block in an answer counts; see core.answer.
        on_progress: Called after every generated position and every batch.
        on_answered: Called with the number of questions that were done with since the last call.
    """
    by_length = sorted(
        ((_prompt_ids(renderer, q), q) for q in questions), key=lambda pair: len(pair[0])
    )
    count = _Count(on_answered)
    asker = _Asker(
        model, renderer, max_new_tokens, batch_size, deadline, item_seconds, on_progress, count
    )
    with answering(model):
        done, at_once = 0, batch_size
        while done < len(by_length) and (began := time.monotonic()) < deadline:
            part = [
                PreparedQuestion(question, prompt, renderer.render(question.example))
                for prompt, question in by_length[done : done + at_once]
            ]
            raws = asker.ask(part)
            done += len(part)
            count.reach(done)  # not every question is answered by generation
            if time.monotonic() - began < _PART_SECONDS:
                at_once = min(2 * at_once, batch_size * _BATCHES_AT_ONCE)
            for prepared, raw in zip(part, raws, strict=True):
                yield mark(prepared.question, raw, reasoning)
            if on_progress is not None:
                on_progress()


def _prompt_ids(renderer: Renderer, question: Question) -> list[int]:
    return [] if question.example.kind == "text" else renderer.prompt_ids(question.example)


@dataclass(slots=True)
class _Count:
    """
    How many questions are done with.
    """

    on_answered: Callable[[int], None] | None
    done: int = 0

    def add(self, n: int) -> None:
        """
        Count *n* more, and report them.
        """
        self.done += n
        if n and self.on_answered is not None:
            self.on_answered(n)

    def reach(self, done: int) -> None:
        """
        Count what is missing to *done*.
        """
        self.add(done - self.done)


@dataclass(frozen=True, slots=True)
class _Asker:
    """
    The settings of one call of ask(), and the passes through the model that it makes.
    """

    model: LanguageModel
    renderer: Renderer
    max_new_tokens: int
    batch_size: int
    deadline: float
    item_seconds: float | None
    on_progress: Callable[[], None] | None
    count: _Count

    def ask(self, part: Sequence[PreparedQuestion]) -> list[Raw]:
        """
        Ask some questions together, and return what the model did with each.
        """
        began = time.monotonic()
        losses = self._losses(part)
        answers: dict[int, Answer] = {}
        for i, answer, loss in self._generate(part):
            answers[i] = answer
            losses[i] = (losses[i][0] + loss[0], losses[i][1] + loss[1])
        chosen = {i: self._choose(one) for i, one in enumerate(part) if one.is_choice}
        seconds = (time.monotonic() - began) / len(part)
        return [
            self._raw(answers.get(i), losses[i], one.golden_tokens, seconds, chosen.get(i, ()))
            for i, one in enumerate(part)
        ]

    def _losses(self, part: Sequence[PreparedQuestion]) -> list[_Loss]:
        """Return the loss of each question's sequences that need a pass of their own."""
        owned: list[tuple[int, TrainingSequence]] = [
            (i, sequence) for i, one in enumerate(part) for sequence in one.other_sequences()
        ]
        order = sorted(range(len(owned)), key=lambda k: len(owned[k][1].input_ids))
        found: dict[int, _Loss] = {}
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            rows = [(owned[k][1].input_ids, owned[k][1].supervised) for k in batch]
            found |= zip(
                batch, summed_loss(self.model, rows, self.renderer.pad_token_id), strict=True
            )
            if self.on_progress is not None:
                self.on_progress()
        losses: list[_Loss] = [(0.0, 0)] * len(part)
        for k, (i, _) in enumerate(owned):
            losses[i] = (losses[i][0] + found[k][0], losses[i][1] + found[k][1])
        return losses

    def _generate(self, part: Sequence[PreparedQuestion]) -> list[tuple[int, Answer, _Loss]]:
        """Return number, answer and continuation loss of each question that is generated."""
        generated = [i for i, one in enumerate(part) if one.is_generated]
        if not generated:
            return []
        found = answer_and_score(
            self.model,
            [part[i].prompt for i in generated],
            [part[i].continuation() for i in generated],
            stop_token_ids=self.renderer.stop_token_ids,
            pad_token_id=self.renderer.pad_token_id,
            max_new_tokens=[part[i].longest_answer(self.max_new_tokens) for i in generated],
            batch_size=self.batch_size,
            deadline=self.deadline,
            item_seconds=self.item_seconds,
            on_token=self.on_progress,
            on_answered=self.count.add,
            cut_loops=True,
            guards=[self._guard(part[i].question) for i in generated],
        )
        return [(i, answer, loss) for i, (answer, loss) in zip(generated, found, strict=True)]

    def _guard(self, question: Question) -> Guard | None:
        """Return what holds the answer to *question*, None if it is free."""
        if (found := question.held_to) is None:
            return None
        from finetuned.inference.guide import guides_of  # late: most answers are free

        vocabulary = CachedLM(self.model).vocabulary
        guides = guides_of(self.renderer.tokenizer, vocabulary, self.renderer.stop_token_ids)
        return guides.guard_of(found.schema)

    def _choose(self, one: PreparedQuestion) -> tuple[_Loss, ...]:
        """Return log-likelihood and tokens of each choice."""
        example, choices = one.question.example, one.question.choices
        texts = [self.renderer.answer_ids(example, choice) for choice in choices]
        return tuple(choice_scores(self.model, one.prompt, texts, self.renderer.pad_token_id))

    def _raw(
        self,
        answer: Answer | None,
        loss: _Loss,
        golden_tokens: int,
        seconds: float,
        choices: tuple[_Loss, ...],
    ) -> Raw:
        return Raw(
            text=None if answer is None else self.renderer.decode(answer.ids),
            loss_sum=loss[0],
            n_tokens=loss[1],
            golden_tokens=golden_tokens,
            answer_tokens=0 if answer is None else len(answer.ids),
            stopped=answer is not None and answer.stopped,
            timed_out=answer is not None and answer.timed_out,
            seconds=seconds,
            choices=choices,
            n_refused=0 if answer is None else answer.n_refused,
            likelihood=None if answer is None else answer.likelihood,
        )
