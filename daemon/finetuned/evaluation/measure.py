"""
One model on some suites: outcomes, and what they come to.

Answers that the same weights gave before to the same token ids are taken from
the store. Does not know which model is better, or why it is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetuned.config import EvaluationConfig
from finetuned.core.metrics import mean_loss, wilson_interval
from finetuned.data.render import Renderer
from finetuned.data.suite import Question, Suite
from finetuned.evaluation.answers import AnswerStore, question_key
from finetuned.inference.ask import ask
from finetuned.inference.outcome import Outcome, Raw, mark

NOT_REACHED = Raw(
    text="",
    loss_sum=0.0,
    n_tokens=0,
    golden_tokens=0,
    answer_tokens=0,
    stopped=False,
    timed_out=True,
    seconds=0.0,
)
"""What a model did with a question that no time was left for."""


@dataclass(frozen=True, slots=True)
class Measured:
    """
    One model on one suite.
    """

    suite: Suite
    outcomes: dict[str, Outcome]
    """By item; one that was not reached in time is there as timed out."""
    n_cached: int
    seconds: float
    """Wall time, >= 0; next to nothing where all answers were known."""
    in_time: bool
    """Whether the suite's deadline was kept."""

    @property
    def complete(self) -> bool:
        """Whether every item was asked, in time."""
        return self.in_time and len(self.outcomes) == len(self.suite.questions)


@dataclass(frozen=True, slots=True)
class Examiner:
    """
    Asks models suites, one after another, all in the same way.
    """

    renderer: Renderer
    config: EvaluationConfig
    store: AnswerStore | None = None
    """Where answers are looked up and kept; None asks everything anew."""
    on_progress: Callable[[], None] | None = None
    """Called often: a sign of life; what it raises ends the examination."""
    _keys: dict[str, dict[str, str]] = field(default_factory=dict)
    """Suite -> item -> key. Suites of one examination have names of their own."""

    def measure(
        self, load: Callable[[], Any], digest: str, suite: Suite, *, deadline: float
    ) -> Measured:
        """
        Ask a model every question of *suite*.

        Args:
            load: Returns the model, a causal language model; called only where an answer
                is not known.
            digest: Of the model's weights; see model_digest.
            suite: Any.
            deadline: On the clock of time.monotonic, in seconds; the suite's own
                time limit applies as well.

        Raises:
            MalformedExample: A question cannot be rendered for this model.
        """
        began = time.monotonic()
        deadline = min(deadline, began + self.config.suite_timeout_seconds)
        keys = self._keys_of(suite)
        known = {} if self.store is None else self.store.find(digest, keys.values())
        outcomes = {
            q.id: mark(q, known[keys[q.id]], self.config.reasoning)
            for q in suite.questions
            if keys[q.id] in known
        }
        unknown = [q for q in suite.questions if q.id not in outcomes]
        n_cached, in_time = len(outcomes), True
        if unknown:
            fresh = self._ask(load(), unknown, deadline)
            if self.store is not None:
                self.store.add(digest, {keys[i]: o.raw for i, o in fresh.items()})
            outcomes |= fresh
            in_time = time.monotonic() < deadline
            # What was not reached is wrong and late, and the suite is not complete.
            outcomes |= {
                q.id: mark(q, NOT_REACHED, self.config.reasoning)
                for q in unknown
                if q.id not in fresh
            }
        return Measured(suite, outcomes, n_cached, time.monotonic() - began, in_time)

    def _keys_of(self, suite: Suite) -> dict[str, str]:
        """Return the key of each question; rendered once, however many models are asked."""
        if suite.name not in self._keys:
            limits = (self.config.max_new_tokens,)
            self._keys[suite.name] = {
                q.id: question_key(self.renderer, q, limits) for q in suite.questions
            }
        return self._keys[suite.name]

    def _ask(
        self, model: Any, questions: Sequence[Question], deadline: float
    ) -> dict[str, Outcome]:
        return {
            outcome.question.id: outcome
            for outcome in ask(
                model,
                self.renderer,
                questions,
                max_new_tokens=self.config.max_new_tokens,
                batch_size=self.config.batch_size,
                deadline=deadline,
                item_seconds=self.config.item_timeout_seconds,
                reasoning=self.config.reasoning,
                on_progress=self.on_progress,
            )
        }


def score(measured: Measured) -> dict[str, Any]:
    """
    Return what a report says of one model on one suite; see docs/reference/eval_report.schema.json.
    """
    outcomes = list(measured.outcomes.values())
    asked = [o for o in outcomes if o.correct is not None]
    correct = sum(bool(o.correct) for o in asked)
    tokens = [o.n_tokens for o in outcomes]
    generated = [o for o in asked if not o.raw.choices]
    answer_tokens = sum(o.answer_tokens for o in generated)
    seconds = sum(o.raw.seconds for o in generated)
    return {
        "n_items": len(measured.suite.questions),
        "n_asked": len(asked),
        "n_correct": correct,
        "accuracy": correct / len(asked) if asked else None,
        "interval_95": list(wilson_interval(correct, len(asked))) if asked else None,
        "n_exact": sum(bool(o.matches) for o in asked),
        "mean_score": _mean([o.grade.score for o in asked if o.grade is not None]),
        "loss": mean_loss([o.loss_sum for o in outcomes], tokens) if sum(tokens) else None,
        "loss_tokens": sum(tokens),
        "stop_rate": _mean([float(o.stopped) for o in generated]),
        "mean_answer_tokens": _mean([float(o.answer_tokens) for o in generated]),
        "tokens_per_second": answer_tokens / seconds if seconds > 0 and generated else None,
        "n_timed_out": sum(o.timed_out for o in asked),
        "n_cached": measured.n_cached,
        "complete": measured.complete,
        "json": _json_counts(asked),
    }


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """
    Return what a report says of one answer.
    """
    grade = outcome.grade
    return {
        "answer": outcome.answer,
        "correct": outcome.correct,
        "score": None if grade is None else grade.score,
        "exact": outcome.matches,
        "loss": outcome.loss_sum,
        "n_tokens": outcome.n_tokens,
        "answer_tokens": outcome.answer_tokens,
        "stopped": outcome.stopped,
        "timed_out": outcome.timed_out,
        "detail": {} if grade is None else grade.detail,
    }


def item_record(suite: Suite, question: Question, by: dict[str, Measured]) -> dict[str, Any]:
    """
    Return what a report says of one item: the question, and each subject's outcome.

    Args:
        suite: That the question is of.
        question: Any of it.
        by: Subject -> what it did on that suite.
    """
    return {
        "suite": suite.name,
        "id": question.id,
        "scorer": question.scorer.name,
        "system": question.system,
        "prompt": question.prompt,
        "golden": question.golden,
        "outcomes": {
            subject: outcome_record(measured.outcomes[question.id])
            for subject, measured in by.items()
            if question.id in measured.outcomes
        },
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _json_counts(asked: Sequence[Outcome]) -> dict[str, int] | None:
    details = [
        o.grade.detail for o in asked if o.grade is not None and o.question.scorer.name == "json"
    ]
    if not details:
        return None
    return {
        "n_valid": sum(bool(d.get("valid")) for d in details),
        "n_schema_valid": sum(d.get("schema_valid") is not False for d in details if d["valid"]),
        "fields_right": sum(int(d.get("fields_right", 0)) for d in details),
        "fields": sum(int(d.get("fields", 1)) for d in details),
    }
