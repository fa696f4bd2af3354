"""
A live eval: the model in training answers a few held-out questions, inside a time budget.

Each look asks the next questions in turn; the measured cost of a look decides how many
rows the next one asks (eval_pace.py). Does not know when to look, nor what is done
with the outcomes (eval_recorder.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from finetuned.config import EvaluationConfig
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.inference.ask import ask
from finetuned.inference.outcome import Outcome
from finetuned.model.types import LanguageModel
from finetuned.training.drift import Drift
from finetuned.training.eval_pace import (
    budget_left_seconds,
    first_look_seconds,
    rows_affordable,
)


class _StopAsked(Exception):
    """Raised between two tokens to leave generation when the worker has to stop."""


class LiveEval:
    """
    Asks the held-out questions of a job, a few at a time, in turn.
    """

    def __init__(
        self,
        model: LanguageModel,
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
            model: The language model in training; its mode and random state are kept.
            questions: Held-out rows of the job.
            renderer: Of the model's tokenizer and template.
            config: Share of wall time, deadline and longest answer.
            on_progress: Called between tokens.
            stopping: Whether a stop was asked for.
            drift: Measures how far the model has moved; None if that is not measured.
        """
        self._model = model
        self._questions = list(questions)
        self._renderer = renderer
        self._config = config
        self._on_progress = on_progress
        self._stopping = stopping
        self._drift = drift
        self._drift_seconds = 0.0
        self._next = 0
        self._last_rows = 0
        self._last_seconds = 0.0
        self.seconds = 0.0
        """Wall time spent in live evals by this process."""

    @property
    def kl_warning(self) -> float:
        """Distance from the start, in nats per token, above which the status warns."""
        return self._config.kl_warning

    def rows_affordable(self, training_seconds: float) -> int:
        """
        Return how many rows the budget allows now; see eval_pace.rows_affordable.

        Args:
            training_seconds: Wall time since training began in this process, evals included.
        """
        return rows_affordable(
            self._budget_left(training_seconds),
            last_rows=self._last_rows,
            last_seconds=self._last_seconds,
            n_questions=len(self._questions),
        )

    def seconds_allowed(self, training_seconds: float, expected_seconds: float) -> float:
        """
        Return how long a look may take now.

        Args:
            training_seconds: As rows_affordable.
            expected_seconds: What that will be at the last step.
        """
        left = self._budget_left(training_seconds)
        return left if self._last_rows else self._first_seconds(left, expected_seconds)

    def _first_seconds(self, left: float, expected_seconds: float) -> float:
        fraction = self._config.max_wall_fraction
        return max(left, first_look_seconds(fraction, expected_seconds=expected_seconds))

    def look(
        self, rows: int, *, seconds: float = math.inf, followed: bool = False
    ) -> list[Outcome]:
        """
        Ask the next *rows* questions, until evaluation.timeout_seconds are over.

        Args:
            rows: As rows_affordable.
            followed: Ask the first questions instead of the next: the same every time, so that
                their answers can be followed over the job. It costs as much.
            seconds: When to stop earlier. A look that was cut counts as twice as long, so that
                the next one waits until it may take longer.

        Returns:
            The outcomes of the questions that were answered before the deadline or a stop.
        """
        n = len(self._questions)
        first = 0 if followed else self._next
        picked = [self._questions[(first + i) % n] for i in range(min(rows, n))]
        if not followed:
            self._next = (first + len(picked)) % n
        began = time.monotonic()
        outcomes: list[Outcome] = []
        try:
            outcomes += ask(
                self._model,
                self._renderer,
                picked,
                max_new_tokens=self._config.max_new_tokens,
                batch_size=self._config.batch_size,
                deadline=began + min(self._config.timeout_seconds, seconds),
                on_progress=self._between_tokens,
            )
        except _StopAsked:
            pass  # outcomes from before the stop are kept
        took = time.monotonic() - began
        self.seconds += took
        was_cut = len(outcomes) < len(picked) or any(o.timed_out for o in outcomes)
        self._last_rows, self._last_seconds = len(picked), took * (2 if was_cut else 1)
        return outcomes

    def _between_tokens(self) -> None:
        self._on_progress()
        if self._stopping():
            raise _StopAsked

    def drift_now(self, training_seconds: float, expected_seconds: float) -> float | None:
        """
        Return how far the model has moved from the one it started from, in nats per token.

        Call it after the look, which has the first claim on the budget.

        Args:
            training_seconds, expected_seconds: As seconds_allowed.

        Returns:
            None if it is not measured, or the budget does not allow it now. The first time
            it may take as long as a first look.
        """
        drift, allowed = self._drift, self._budget_left(training_seconds)
        if not self._drift_seconds:
            allowed = self._first_seconds(allowed, expected_seconds)
        if drift is None or allowed < (self._drift_seconds or drift.begin_seconds):
            return None
        began = time.monotonic()
        found = drift.measure(self._model)
        self._drift_seconds = time.monotonic() - began
        self.seconds += self._drift_seconds
        self._on_progress()
        return found

    def _budget_left(self, training_seconds: float) -> float:
        return budget_left_seconds(
            self._config.max_wall_fraction,
            training_seconds=training_seconds,
            spent_seconds=self.seconds,
        )
