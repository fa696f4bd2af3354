"""
An answer in which the model is not sure enough: what a client is given in its place.

A program may carry out what it is answered. So below ``serving.min_confidence`` the guess is not
given at all: a command becomes the question for its values, and any other text is withheld.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

from finetuned.core.generation import Finished
from finetuned.data.intents import MISSING, IntentError, canonical

_HARMLESS: Final = ("none", "clarify")
"""Actions that nobody carries out."""


class Decision(StrEnum):
    """
    What became of an answer, in the document routes.
    """

    ANSWER = "answer"  # given as it is
    CLARIFY = "clarify"  # the model was not sure enough: ask the user, or a person


@dataclass(frozen=True, slots=True)
class Given:
    """
    What a client is given.
    """

    text: str
    decision: Decision


def given(text: str, finished: Finished, least: float) -> Given:
    """
    Return what is given of an answer.

    Args:
        text: The answer.
        finished: Its end. Without a confidence nobody knows that the model is sure.
        least: ``serving.min_confidence``; 0 gives every answer.
    """
    if least == 0 or (finished.confidence is not None and finished.confidence >= least):
        return Given(text, Decision.ANSWER)
    return Given(_question_for(text), Decision.CLARIFY)


def _question_for(text: str) -> str:
    """
    Return the ``clarify`` that asks again for the values of a command, "" for any other text.
    """
    try:
        value = orjson.loads(text)
        intent = canonical(value) if isinstance(value, dict) else {}
    except (orjson.JSONDecodeError, IntentError):
        return ""
    if not intent:
        return ""
    if intent["action"] in _HARMLESS:
        return text
    steps = intent.get("steps", [intent])
    named = {key for step in steps for key in step}
    missing = [key for key in MISSING if key in named]
    return orjson.dumps({"action": "clarify", "missing": missing}).decode() if missing else ""
