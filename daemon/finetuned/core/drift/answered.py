"""
What is measured of an answer: confidence, whether it stopped, its form, whether it declines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.core.answer import final_answer
from finetuned.core.drift.measure import NO, YES, Measure, Values

STOPPED: Final = frozenset({"stop", "tool_calls"})
"""finish_reason of answers that ended by themselves."""

MOSTLY: Final = 0.9
"""Share of the reference's answers that must be JSON so that others are expected to be."""

_DECLINES: Final = re.compile(
    r"\b(?:i(?:'|\u2019)?m sorry|i am sorry|sorry,|i (?:can ?not|can(?:'|\u2019)t|won(?:'|\u2019)t|"
    r"am (?:not able|unable)|am not allowed)|i(?:'|\u2019)m (?:not able|unable)|as an ai|"
    r"unable to (?:help|assist|comply))",
    re.IGNORECASE,
)
_DECLINING_ACTIONS: Final = frozenset({"none", "refuse", "reject", "decline"})
_BEGINNING: Final = 200
"""Characters of an answer in which it says that it declines."""


@dataclass(frozen=True, slots=True)
class Answered:
    """
    One answer.
    """

    text: str
    finish_reason: str
    confidence: float | None = None
    """0 to 1; None if it is not known."""
    calls_tools: bool = False


class Forms:
    """
    The forms that answers have: for answers in JSON, sets of keys.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """
        Args:
            texts: Answers of the reference.
        """
        found = [_form_of(text) for text in texts]
        known = [form for form in found if form is not None]
        self.is_json = bool(found) and len(known) >= MOSTLY * len(found)
        """Whether answers are expected to be JSON; else no form is expected of them."""
        self._known = frozenset(known)

    def has(self, text: str) -> bool:
        """
        Return whether *text* is JSON with keys that an answer of the reference has.
        """
        return _form_of(text) in self._known


def _form_of(text: str) -> tuple[str, ...] | None:
    """Return the keys of an object, the type of another JSON value, None if it is no JSON."""
    bare = final_answer(text)
    if bare[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return None
    return ("{", *sorted(value)) if isinstance(value, dict) else (type(value).__name__,)


def declines(text: str) -> bool:
    """
    Return whether an answer says that it does not do what was asked.

    An object whose action is "none" or the like, or one of the usual English sentences at the
    beginning of a text.
    """
    bare = final_answer(text)
    if bare.startswith("{"):
        try:
            value = json.loads(bare)
        except (ValueError, RecursionError):
            return False
        action = value.get("action") if isinstance(value, dict) else None
        return isinstance(action, str) and action.lower() in _DECLINING_ACTIONS
    return _DECLINES.search(bare[:_BEGINNING]) is not None


def measured(answers: Sequence[Answered], forms: Forms) -> Values:
    """
    Return the measures of *answers*; one that calls tools has neither a form nor a refusal.
    """
    return {
        Measure.CONFIDENCE: [one.confidence for one in answers],
        Measure.STOPPED: [_word(one.finish_reason in STOPPED) for one in answers],
        Measure.VALID: [
            _word(forms.has(one.text)) if forms.is_json and not one.calls_tools else None
            for one in answers
        ],
        Measure.REFUSED: [
            None if one.calls_tools else _word(declines(one.text)) for one in answers
        ],
    }


def _word(value: bool) -> str:
    return YES if value else NO
