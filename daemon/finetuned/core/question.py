"""
A question to a model and the end of its answer, whoever gives it: a service, or a model in this
process.

Pure: does not know HTTP or weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from finetuned.core.copied import Invented
from finetuned.core.generation import FinishReason, JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """
    A conversation whose next turn is asked for.
    """

    messages: tuple[JsonObject, ...]
    """``role`` and ``content`` of each turn, not empty."""
    max_tokens: int | None = None
    """Longest answer, >= 1; None is the most that whoever answers allows."""
    temperature: float = 0.0
    """0 takes the likeliest token; up to 2."""
    seed: int | None = None
    """The same seed gives the same answer at temperatures above 0."""
    schema: JsonObject | None = None
    """The JSON Schema that the answer is held to; None is what ``model.answer_format`` says."""
    free: bool = False
    """Whether the answer is held to nothing, whatever ``model.answer_format`` says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerEnd:
    """
    What is known of an answer once it is whole.
    """

    model: str
    """What gave it, such as finetuned@v0007."""
    reason: FinishReason
    prompt_tokens: int
    answer_tokens: int
    first_seconds: float
    """From the question to the first text."""
    seconds: float
    """From the question to the end."""
    reasoning: str | None = None
    """A reasoning block that the answer began with; no part of its text."""
    invented: tuple[Invented, ...] = ()
    """Values that its schema says are copied, and that do not stand in the conversation."""
    request_id: str | None = None
    """Of the service, for its log and for feedback; None if no service was asked."""


Answer = Iterator[str | AnswerEnd]
"""The text of an answer as it comes, then its end. Closing it ends the work."""


class Answerer(Protocol):
    """
    A model that can be asked.
    """

    def answer(self, question: Question) -> Answer:
        """
        Raises:
            NoAnswer: There is none, or it ended early.
        """
