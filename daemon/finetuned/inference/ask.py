"""
Questions in, answers with their marks and losses out: what every evaluation is made of.

Used while training and for reports, so that all see the same token ids and mark
an answer the same way. Does not know versions, suites or gates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetuned.core.answer import STRIP, final_answer, is_refused, matches
from finetuned.core.scoring.grade import grade, grade_choice
from finetuned.core.scoring.scorer import CHOICE, Grade
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.inference.generate import Answer, answer_and_score, answering, choice_scores
from finetuned.inference.score import summed_loss

SPARE_TOKENS = 16
SPARE_AT_MOST = 128
"""
How much longer than the expected answer a generated one may get: its own length again, at most
128 tokens, and 16. Past that it is wrong.
"""

_BOUNDED = ("exact", "normalised", "json")
"""Scorers for which a much longer answer than the expected one is wrong already."""

_BATCHES_AT_ONCE = 8
"""Batches whose shared beginning is computed once; their outcomes come together."""

Tokens = tuple[list[int], list[bool]]


@dataclass(frozen=True, slots=True)
class Raw:
    """
    What a model did with one question, before anybody marks it.
    """

    text: str | None
    """As generated, without the stop token; None where nothing is to be generated."""
    loss_sum: float
    """Summed over the expected answer's supervised tokens, in nats."""
    n_tokens: int
    """Those tokens; 0 where the row holds no answer."""
    golden_tokens: int
    """Supervised tokens of the expected last turn."""
    answer_tokens: int
    stopped: bool
    """Whether the answer ended in a stop token."""
    timed_out: bool
    seconds: float
    """Share of its batch's wall time."""
    choices: tuple[tuple[float, int], ...] = ()
    """Summed log-likelihood in nats and tokens of each choice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a model made of one question.
    """

    question: Question
    raw: Raw
    answer: str | None
    """The final answer, reasoning aside; None where there is nothing to generate."""
    grade: Grade | None
    matches: bool | None
    """Whether the answer ended by itself and equals the expected one exactly."""

    @property
    def correct(self) -> bool | None:
        """What the question's scorer says; an answer that was cut by time is wrong."""
        return None if self.grade is None else self.grade.correct and not self.raw.timed_out

    @property
    def loss_sum(self) -> float:
        """Summed over supervised tokens, in nats."""
        return self.raw.loss_sum

    @property
    def n_tokens(self) -> int:
        return self.raw.n_tokens

    @property
    def golden_tokens(self) -> int:
        return self.raw.golden_tokens

    @property
    def answer_tokens(self) -> int:
        return self.raw.answer_tokens

    @property
    def stopped(self) -> bool:
        return self.raw.stopped

    @property
    def timed_out(self) -> bool:
        return self.raw.timed_out


def mark(question: Question, raw: Raw, reasoning: str = STRIP) -> Outcome:
    """
    Return what *raw* is worth as an answer to *question*.

    Args:
        question: As asked.
        raw: What the model did.
        reasoning: What a reasoning block is; see core.answer.
    """
    golden = question.golden
    if question.scorer.name == CHOICE:
        if not raw.choices:
            late = Grade(False, 0.0) if raw.timed_out else None
            return Outcome(question, raw, None, late, False if raw.timed_out else None)
        per_token = question.scorer.options.get("per_token", False)
        found = grade_choice(
            [nll for nll, _ in raw.choices],
            [n if per_token else 1 for _, n in raw.choices],
            int(question.expected),
        )
        return Outcome(
            question, raw, question.choices[found.detail["chosen"]], found, found.correct
        )
    if raw.text is None or golden is None:
        return Outcome(question, raw, None, None, None)
    answer = final_answer(raw.text, reasoning)
    expected = final_answer(golden) if question.expected is None else question.expected
    found = grade(question.scorer, answer, expected)
    if is_refused(raw.text, reasoning):
        found = Grade(False, 0.0, {**found.detail, "refused": "it reasons"})
    return Outcome(question, raw, answer, found, raw.stopped and matches(raw.text, golden))


def ask(
    model: Any,
    renderer: Renderer,
    questions: Sequence[Question],
    *,
    max_new_tokens: int,
    batch_size: int,
    deadline: float,
    item_seconds: float | None = None,
    reasoning: str = STRIP,
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
        item_seconds: Longest time one answer may take; None sets no limit but the deadline.
        reasoning: What a reasoning block in an answer is; see core.answer.
        on_progress: Called after every generated position and every batch.
    """
    prepared = sorted(
        ((_prompt_ids(renderer, q), q) for q in questions), key=lambda pair: len(pair[0])
    )
    at_once = batch_size * _BATCHES_AT_ONCE
    with answering(model):
        for start in range(0, len(prepared), at_once):
            if time.monotonic() >= deadline:
                return
            asker = _Asker(
                model, renderer, max_new_tokens, batch_size, deadline, item_seconds, on_progress
            )
            part = prepared[start : start + at_once]
            for (_, question), raw in zip(part, asker.ask(part), strict=True):
                yield mark(question, raw, reasoning)
            if on_progress is not None:
                on_progress()


def _prompt_ids(renderer: Renderer, question: Question) -> list[int]:
    return [] if question.example.kind == "text" else renderer.prompt_ids(question.example)


@dataclass(frozen=True, slots=True)
class _Asker:
    model: Any
    renderer: Renderer
    max_new_tokens: int
    batch_size: int
    deadline: float
    item_seconds: float | None
    on_progress: Callable[[], None] | None

    def ask(self, part: Sequence[tuple[list[int], Question]]) -> list[Raw]:
        began = time.monotonic()
        rendered = [
            [(s.input_ids, s.supervised) for s in self.renderer.render(q.example)] for _, q in part
        ]
        generated = [i for i, (ids, q) in enumerate(part) if ids and q.scorer.name != CHOICE]
        continuations: dict[int, list[tuple[int, bool]]] = {}
        beside: list[tuple[int, Tokens]] = []
        """Sequences whose loss is taken in a pass of their own, with the question's number."""
        for i, ((prompt, question), sequences) in enumerate(zip(part, rendered, strict=True)):
            if i in generated:
                continuations[i] = _continuation(prompt, sequences[-1]) if question.scored else []
            if question.scored:
                last = sequences[:-1] if continuations.get(i) else sequences
                beside += [(i, sequence) for sequence in last]
        sums = [[0.0, 0] for _ in part]
        for i, (nll, n) in zip([i for i, _ in beside], self._losses(beside), strict=True):
            sums[i][0] += nll
            sums[i][1] += n
        answers: dict[int, Answer] = {}
        for i, (answer, (nll, n)) in zip(
            generated, self._generate(part, rendered, generated, continuations), strict=True
        ):
            answers[i] = answer
            sums[i][0] += nll
            sums[i][1] += n
        chosen = {
            i: self._choose(ids, question)
            for i, (ids, question) in enumerate(part)
            if question.scorer.name == CHOICE
        }
        seconds = (time.monotonic() - began) / len(part)
        return [
            self._raw(
                answers.get(i),
                (nll, int(n)),
                sum(rendered[i][-1][1]),
                seconds,
                chosen.get(i, ()),
            )
            for i, (nll, n) in enumerate(sums)
        ]

    def _losses(self, beside: Sequence[tuple[int, Tokens]]) -> list[tuple[float, int]]:
        losses: list[tuple[float, int]] = []
        order = sorted(range(len(beside)), key=lambda k: len(beside[k][1][0]))
        for start in range(0, len(order), self.batch_size):
            rows = [beside[k][1] for k in order[start : start + self.batch_size]]
            losses += summed_loss(self.model, rows, self.renderer.pad_token_id)
            if self.on_progress is not None:
                self.on_progress()
        found = dict(zip(order, losses, strict=True))
        return [found[k] for k in range(len(beside))]

    def _generate(
        self,
        part: Sequence[tuple[list[int], Question]],
        rendered: Sequence[Sequence[Tokens]],
        generated: Sequence[int],
        continuations: dict[int, list[tuple[int, bool]]],
    ) -> list[tuple[Answer, tuple[float, int]]]:
        if not generated:
            return []
        return answer_and_score(
            self.model,
            [part[i][0] for i in generated],
            [continuations[i] for i in generated],
            stop_token_ids=self.renderer.stop_token_ids,
            pad_token_id=self.renderer.pad_token_id,
            max_new_tokens=[self._limit(part[i][1], rendered[i][-1]) for i in generated],
            batch_size=self.batch_size,
            deadline=self.deadline,
            item_seconds=self.item_seconds,
            on_token=self.on_progress,
            cut_loops=True,
        )

    def _limit(self, question: Question, expected: Tokens) -> int:
        if not question.scored or question.scorer.name not in _BOUNDED:
            return self.max_new_tokens
        golden = sum(expected[1])  # a right answer is never cut, however long it is
        longest = max(self.max_new_tokens, golden + SPARE_TOKENS)
        return min(longest, golden + min(golden, SPARE_AT_MOST) + SPARE_TOKENS)

    def _choose(self, prompt: list[int], question: Question) -> tuple[tuple[float, int], ...]:
        texts = [self.renderer.answer_ids(question.example, c) for c in question.choices]
        return tuple(choice_scores(self.model, prompt, texts, self.renderer.pad_token_id))

    def _raw(
        self,
        answer: Answer | None,
        loss: tuple[float, int],
        golden_tokens: int,
        seconds: float,
        choices: tuple[tuple[float, int], ...],
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
        )


def _continuation(prompt: list[int], sequence: Tokens) -> list[tuple[int, bool]]:
    """
    Return what follows *prompt* in a sequence; [] where it does not begin with it, or where
    tokens before its end carry loss as well.
    """
    ids, supervised = sequence
    n = len(prompt)
    if list(ids[:n]) != list(prompt) or any(supervised[:n]):
        return []
    return list(zip(ids[n:], supervised[n:], strict=True))
