"""
A look at held-out rows every few steps, inside a time budget.

The cost is measured and the next look adapts to it: fewer rows, or none until
the share of wall time fits again. Does not decide anything about the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from finetuned.config import EvaluationConfig
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.inference.ask import ask
from finetuned.inference.outcome import Outcome
from finetuned.training.drift import Drift

MAX_ROWS = 8
_PROMPT_CHARACTERS = 2000
_COST_OF_HALF = 0.8
"""Of a look's time when half the rows are asked: a batch costs about as much as its longest row."""


class _StopAsked(Exception):
    """Not an error: the way out of generate() when the worker has to stop."""


class LiveEval:
    """
    Asks a rotating few of the held-out questions.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        renderer: Renderer,
        config: EvaluationConfig,
        *,
        on_progress: Callable[[], None],
        stopping: Callable[[], bool],
        drift: Drift | None = None,
    ) -> None:
        """
        Args:
            questions: Held-out rows of the job.
            renderer: Of the model's tokenizer and template.
            config: Budget, deadline and longest answer.
            on_progress: Called between tokens.
            stopping: Whether a stop was asked for.
            drift: Measures how far the model has moved; None where that is off.
        """
        self._drift = drift
        self._drift_seconds = 0.0
        self._questions = list(questions)
        self._renderer = renderer
        self._config = config
        self._on_progress = on_progress
        self._stopping = stopping
        self._next = 0
        self._last_rows = 0
        self._last_seconds = 0.0
        self.seconds = 0.0
        """Wall time spent in evals in this process."""

    @property
    def kl_warning(self) -> float:
        """Nats per token of distance above which the status warns."""
        return self._config.kl_warning

    def rows_affordable(self, training_seconds: float) -> int:
        """
        Return how many rows the budget allows now, 0 to MAX_ROWS.

        Rows are generated together, so half the rows cost more than half: what
        the last look took is what the next of that size is expected to take. The
        very first look is one row whatever it costs, so that there is an answer
        early; a job of some seconds can exceed its share by that look alone.

        Args:
            training_seconds: Wall time of this process since training began, evals included.
        """
        if not self._questions:
            return 0
        if not self._last_rows:
            return 1
        budget = self._config.max_wall_fraction * training_seconds - self.seconds
        rows, cost = self._last_rows, self._last_seconds
        if budget >= 2 * cost:
            return min(2 * rows, MAX_ROWS, len(self._questions))
        while rows > 1 and budget < cost:
            rows, cost = rows // 2, cost * _COST_OF_HALF
        return rows if budget >= cost else 0

    def look(self, model: Any, rows: int) -> list[Outcome]:
        """
        Ask the next *rows* questions, by the deadline of the configuration.

        A question that was not answered in time is not in the result.
        """
        n = len(self._questions)
        picked = [self._questions[(self._next + i) % n] for i in range(min(rows, n))]
        self._next = (self._next + len(picked)) % n
        began = time.monotonic()
        outcomes: list[Outcome] = []
        try:
            outcomes += ask(
                model,
                self._renderer,
                picked,
                max_new_tokens=self._config.max_new_tokens,
                batch_size=self._config.batch_size,
                deadline=began + self._config.timeout_seconds,
                on_progress=self._between_tokens,
            )
        except _StopAsked:
            pass  # what was answered before the stop still counts
        took = time.monotonic() - began
        self.seconds += took
        self._last_rows, self._last_seconds = len(picked), took
        return outcomes

    def _between_tokens(self) -> None:
        self._on_progress()
        if self._stopping():
            raise _StopAsked

    def drift_now(self, model: Any, training_seconds: float) -> float | None:
        """
        Return how far *model* has moved from the incumbent, in nats per token.

        None where that is off, or the budget does not allow it now: it comes second
        to the answers, and the first time it is measured whatever it costs.
        """
        drift = self._drift
        budget = self._config.max_wall_fraction * training_seconds - self.seconds
        if drift is None or (self._drift_seconds and budget < self._drift_seconds):
            return None
        began = time.monotonic()
        found = drift.measure(model)
        self._drift_seconds = time.monotonic() - began
        self.seconds += self._drift_seconds
        self._on_progress()
        return found


def alerts(kl: float, warning: float) -> list[dict[str, Any]]:
    """
    Return what the status warns of, given the distance from the incumbent in nats per token.
    """
    if kl <= warning:
        return []
    detail = (
        f"{kl:.2f} nats per token from the incumbent on canaries and earlier rows "
        f"(evaluation.kl_warning {warning:g}): what was learnt before may be forgotten"
    )
    return [{"name": "drift", "detail": detail}]


def shown(
    outcome: Outcome, *, step: int, current_file: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Return what the status shows of one answer: as a recent example, and as an eval sample.
    """
    question = outcome.question
    loss = outcome.loss_sum / outcome.n_tokens if outcome.n_tokens else None
    prompt = question.prompt[:_PROMPT_CHARACTERS]
    recent = {
        "step": step,
        "current_file": current_file,
        "system_prompt": question.system[:_PROMPT_CHARACTERS],
        "prompt": prompt,
        "golden": question.golden,
        "model_output": outcome.answer,
        "matches": outcome.matches,
        "loss": None if loss is None else round(loss, 6),
        "timed_out": outcome.timed_out,
        "golden_tokens": outcome.golden_tokens,
        "answer_tokens": outcome.answer_tokens,
    }
    sample = {
        "id": question.id,
        "step": step,
        "prompt": prompt,
        "golden": question.golden,
        "model_answer": outcome.answer,
        "answer_matches": outcome.matches,
        "held_out": True,
    }
    return recent, sample
