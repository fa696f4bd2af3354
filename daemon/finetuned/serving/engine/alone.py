"""
A model loaded into this process and asked there, without a service.

The answers are those of the engine: the same loop over one request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import finetuned.model.lean_imports  # noqa: F401 - before the libraries it is about
from finetuned.core.answer_format import AnswerFormat
from finetuned.core.generation import (
    EngineSettings,
    Failed,
    FailureKind,
    Finished,
    Generate,
    Guide,
    HeldModel,
    Piece,
    Report,
    Sampling,
)
from finetuned.core.question import Answer, AnswerEnd, Question
from finetuned.errors import EXIT_SOFTWARE, NoAnswer
from finetuned.serving.engine.load import ModelLoader
from finetuned.serving.engine.scheduler import Scheduler

_ID: Final = "alone"
_NO_DEADLINE: Final = 7 * 86400.0
"""Seconds; a person who waits can press Ctrl-C."""


class LoadedModel:
    """
    One loaded model.
    """

    def __init__(
        self,
        source: HeldModel,
        settings: EngineSettings,
        *,
        most_tokens: int,
        answer_format: AnswerFormat | None = None,
    ) -> None:
        """
        Load it.

        Args:
            source: Its folders; their hashes are verified.
            settings: Of the engine.
            most_tokens: Longest answer if a question does not say it.
            answer_format: What answers are held to if a question does not say it.

        Raises:
            ModelError, ConfigError: It cannot be loaded.
        """
        self._settings = replace(settings, max_running=1)
        self._held = ModelLoader(self._settings).load(source)
        self._most_tokens = most_tokens
        self._default = None if answer_format is None else dict(answer_format.schema)

    def answer(self, question: Question) -> Answer:
        """
        Generate an answer, and yield its text token by token.

        Raises:
            NoAnswer: The question cannot be answered, and why.
        """
        reports: list[Report] = []
        began = time.monotonic()
        scheduler = Scheduler(self._settings, reports.append)
        order = self._order(question)
        scheduler.submit(order, self._held.served_for(order))
        reading = _Reading(began)
        try:
            while True:
                more = scheduler.step()
                for report in reports:
                    yield from reading.take(report)
                reports.clear()
                if not more:
                    return
        finally:
            scheduler.cancel(_ID)  # a question that is given up leaves no row behind

    def _order(self, question: Question) -> Generate:
        default = None if question.free else self._default
        schema = question.schema or default
        sampling = Sampling(
            max_tokens=question.max_tokens or self._most_tokens,
            temperature=question.temperature,
            seed=question.seed,
            guide=Guide.NONE if schema is None else Guide.JSON_SCHEMA,
            schema=schema,
        )
        return Generate(
            id=_ID,
            model=self._held.source.name,
            sampling=sampling,
            messages=question.messages,
            seconds=_NO_DEADLINE,
        )


class _Reading:
    """
    The reports of one answer.
    """

    def __init__(self, began: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._began = began
        self._clock = clock
        self._first: float | None = None

    def take(self, report: Report) -> Answer:
        """
        Yield what a report says of the answer.
        """
        match report:
            case Piece() if report.text:
                self._first = self._first or self._clock()
                yield report.text
            case Finished():
                yield self._end(report)
            case Failed():
                status = EXIT_SOFTWARE if report.kind is FailureKind.ENGINE else None
                raise NoAnswer(report.message, exit_status=status)

    def _end(self, finished: Finished) -> AnswerEnd:
        now = self._clock()
        return AnswerEnd(
            model=finished.model,
            reason=finished.reason,
            prompt_tokens=finished.prompt_tokens,
            answer_tokens=finished.answer_tokens,
            first_seconds=(self._first or now) - self._began,
            seconds=now - self._began,
            reasoning=finished.reasoning,
            invented=finished.invented,
        )
