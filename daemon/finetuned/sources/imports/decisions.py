"""
One row of the table ``ai_decisions``, or of a data set made from it, as a row to train. Pure.

The question is ``query``; the answer is ``correct_intent``, else ``parsed_intent``, in the one
spelling that is trained (data/intents.py). Customers, appliances and outputs of commands are
not kept.

The rules, in this order: what a person verified is trained; a correction that nobody verified,
a thumbs down, and anything that was not carried out with success go to a person; all else is
judged by its confidence (judge.py). A query of category ``query`` with the confidence 0.3 is what
the parser wrote when it failed, and is refused: it is no question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from finetuned.core.review import Reason, Thumbs
from finetuned.data.intents import IntentError, dumps, is_intent
from finetuned.data.redaction import redact, redact_others
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample
from finetuned.sources.imports.found import Found, FoundRow, Place, Refusal

QUESTION: Final = ("query", "input")
ANSWER: Final = ("parsed_intent", "output")
CORRECTED: Final = "correct_intent"
VERIFIED: Final = ("human_verified", "verified")

PARSE_FAILURE_CONFIDENCE: Final = 0.3
"""What the parser of the table wrote, with the category query, whenever it failed."""

_TRUE: Final = frozenset(("t", "true", "1", "yes", "y", "on"))
_FALSE: Final = frozenset(("f", "false", "0", "no", "n", "off", ""))
_FACTS: Final = ("id", "execution_status", "user_feedback")
"""Columns that are kept as provenance."""
_WHEN: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)\s*(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)

Record = Mapping[str, object]
"""Columns with their values: texts as a dump or a table has them, or JSON values."""


class _Wrong(ValueError):
    """A value that cannot be used: the reason and the sentence of its refusal."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def missing_columns(names: frozenset[str]) -> str | None:
    """
    Return what is missing for *names* to be columns of decisions, None if nothing.
    """
    if names.isdisjoint(QUESTION):
        return "query"
    if names.isdisjoint((*ANSWER, CORRECTED)):
        return "parsed_intent or correct_intent"
    return None


def found_in(record: Record, place: Place) -> Found:
    """
    Return the row that a decision makes, or why it makes none.
    """
    try:
        return _found(record, place)
    except _Wrong as wrong:
        return Refusal(place, wrong.reason, wrong.detail)


def _found(record: Record, place: Place) -> FoundRow:
    question = _first(record, QUESTION)
    if not isinstance(question, str) or not question.strip():
        raise _Wrong("no_query", "query is empty: nothing was asked")
    verified = any(_truth(record, key) for key in VERIFIED)
    corrected = _json(record, (CORRECTED,)) or None
    try:
        parsed = _json(record, ANSWER) or None
    except _Wrong:
        if corrected is None:
            raise
        parsed = None
    confidence = _confidence(record)
    if parsed is None and corrected is None:
        raise _Wrong("no_answer", "parsed_intent and correct_intent are empty: it was not parsed")
    if corrected is None and not verified and _is_parse_failure(parsed, confidence):
        raise _Wrong(
            "parse_failure",
            "category query with confidence 0.3 is what the parser wrote when it failed; if it is "
            "a question after all, set human_verified",
        )
    prompt, text = _exchange(question, corrected if corrected is not None else parsed)
    given = text
    if corrected is not None and isinstance(parsed, dict):
        try:
            prompt, given = _exchange(prompt, parsed)
        except _Wrong:  # that is why it was corrected
            prompt = str(redact_others(prompt, parsed))
    if verified:
        given = text
    thumbs = _thumbs(record)
    return FoundRow(
        place=place,
        row={
            "messages": [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": given},
            ]
        },
        confidence=confidence,
        verified=verified,
        reasons=_reasons(record, thumbs, corrected=corrected is not None),
        thumbs=thumbs,
        proposed=text if given != text else None,
        comment=_text(record, "user_comment"),
        had_secrets=prompt != question or b'"password"' in orjson.dumps([parsed, corrected]),
        at=_when(record),
        model=_text(record, "llm_model"),
        facts={key: value for key in _FACTS if (value := _text(record, key)) is not None},
    )


def _exchange(question: str, answer: object) -> tuple[str, str]:
    """Return a question and the text of its answer, a password of the answer gone from both."""
    if not isinstance(answer, dict):
        raise _Wrong("bad_answer", "the intent is no JSON object")
    try:
        if is_intent(answer):
            question, clean = redact(question, answer)
            return question, dumps(clean)
    except IntentError as error:
        raise _Wrong("bad_intent", f"the intent cannot be used: {error}") from None
    return str(redact_others(question, answer)), orjson.dumps(
        redact_others(answer, answer)
    ).decode()


def _reasons(record: Record, thumbs: Thumbs | None, *, corrected: bool) -> tuple[Reason, ...]:
    found = []
    if corrected:
        found.append(Reason.CORRECTED)
    if thumbs is Thumbs.DOWN:
        found.append(Reason.DISLIKED)
    # A table without the column says nothing of execution, and is not asked.
    if "execution_status" in record and _text(record, "execution_status") != "success":
        found.append(Reason.FAILED)
    return tuple(found)


def _is_parse_failure(parsed: object, confidence: float | None) -> bool:
    return (
        isinstance(parsed, dict)
        and parsed.get("category") == "query"
        and PARSE_FAILURE_CONFIDENCE in (confidence, parsed.get("confidence"))
    )


def _first(record: Record, keys: tuple[str, ...]) -> object:
    return next((record[key] for key in keys if record.get(key) is not None), None)


def _text(record: Record, key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) and value.strip() else None


def _json(record: Record, keys: tuple[str, ...]) -> object:
    """Return the value of a column of JSON, parsed if it is text; None if there is none."""
    value = _first(record, keys)
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return parse_line(value.replace("\n", " ").encode("utf-8", "surrogatepass"))
    except MalformedExample as error:
        raise _Wrong("bad_answer", f"the intent is not JSON: {error.reason}") from None


def _truth(record: Record, key: str) -> bool:
    value = record.get(key)
    if isinstance(value, bool) or value is None:
        return bool(value)
    word = str(value).strip().casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _Wrong("bad_value", f"{key} is {word[:20]!r}, expected true or false")


def _confidence(record: Record) -> float | None:
    value = record.get("confidence")
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else float("nan")
    except ValueError:
        number = float("nan")
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise _Wrong("bad_value", f"confidence is {str(value)[:20]!r}, expected 0 to 1")
    return number


def _thumbs(record: Record) -> Thumbs | None:
    word = _text(record, "user_feedback")
    if word is None or word.casefold() in ("null", "none"):
        return None
    try:
        return Thumbs(word)
    except ValueError:
        raise _Wrong(
            "bad_value", f"user_feedback is {word[:20]!r}, expected thumbs_up or thumbs_down"
        ) from None


def _when(record: Record) -> str | None:
    """Return the timestamp as RFC 3339; one without a zone is taken for UTC."""
    match = _WHEN.fullmatch((_text(record, "timestamp") or "").strip())
    if match is None:
        return None
    zone = match[3] or "Z"
    if zone != "Z" and len(zone) == 3:
        zone += ":00"
    elif zone != "Z" and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    return f"{match[1]}T{match[2]}{'Z' if zone == '+00:00' else zone}"
