"""
A question and what was answered to it without passwords, before either is written to disk.

A password is known by the same sign as in a training row: an answer that is a JSON object gives
it as ``password``. Does not know where exchanges are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import orjson

from finetuned.core.review import Entry
from finetuned.data.intents import IntentError, dumps, is_intent
from finetuned.data.messages import Message
from finetuned.data.redaction import redact, redact_others

_SIGN = '"password"'


def cleaned(entry: Entry) -> Entry:
    """
    Return *entry* with every password that one of its texts gives away replaced.
    """
    exchange = entry.exchange
    texts = (exchange.answer, entry.correction, entry.approved, entry.comment, exchange.reasoning)
    turns, (answer, correction, approved, comment, reasoning) = without_passwords(
        orjson.loads(exchange.messages), texts
    )
    messages = orjson.dumps(turns).decode()
    return replace(
        entry,
        exchange=replace(exchange, messages=messages, answer=answer or "", reasoning=reasoning),
        correction=correction,
        approved=approved,
        comment=comment,
    )


def without_passwords(
    messages: Sequence[Message], texts: Sequence[str | None]
) -> tuple[list[Message], list[str | None]]:
    """
    Replace every password that one of *texts* gives away by a reference, in all of them.

    Args:
        messages: The turns before the answer.
        texts: The answer, its correction, a comment: whatever is kept with them.

    Returns:
        The turns and the texts. A text that is a command is rewritten in the spelling that is
        trained; without a password in any text everything is returned as it came.
    """
    turns, found = list(messages), list(texts)
    commands = {at: value for at, text in enumerate(texts) if (value := _with_password(text))}
    for at, command in commands.items():
        turns = _hidden_in_turns(turns, command)
        for other, text in enumerate(found):
            found[other] = _rewritten(command) if other == at else _hidden(text, command)
    return turns, found


def _with_password(text: str | None) -> dict[str, object] | None:
    if text is None or _SIGN not in text or not text.lstrip().startswith("{"):
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _rewritten(command: Mapping[str, object]) -> str:
    try:
        if is_intent(command):
            return dumps(command)
    except IntentError:
        pass
    return orjson.dumps(redact_others(command, command)).decode()


def _hidden_in_turns(turns: list[Message], command: Mapping[str, object]) -> list[Message]:
    """The last question by what it says around the password, everything else word for word."""
    asked = max((i for i, turn in enumerate(turns) if turn.get("role") == "user"), default=-1)
    hidden = []
    for at, turn in enumerate(turns):
        content = turn.get("content")
        if at == asked and isinstance(content, str):
            turn = {**turn, "content": _question(content, command)}
        hidden.append(turn if at == asked else cast("Message", redact_others(turn, command)))
    return hidden


def _question(text: str, command: Mapping[str, object]) -> str:
    try:
        if is_intent(command):
            return redact(text, command)[0]
    except IntentError:
        pass
    return _hidden(text, command) or ""


def _hidden(text: str | None, command: Mapping[str, object]) -> str | None:
    return None if text is None else str(redact_others(text, command))
