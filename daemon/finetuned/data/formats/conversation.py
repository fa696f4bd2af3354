"""
The end of every format that is a conversation: system prompt, marks, tools, passwords and metadata.

Knows what all formats share; does not know how one of them spells its turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from finetuned.data.examples import Example
from finetuned.data.formats.draft import SYSTEM_KEYS, Draft, is_trained
from finetuned.data.formats.keys import KEPT, MARKS, REFUSED_ROWS, Keys, Refused, Row, table
from finetuned.data.formats.tools import tools_of
from finetuned.data.intents import IntentError, canonical, dumps, is_intent
from finetuned.data.messages import Message, kind_of, required_text
from finetuned.data.redaction import redact, redact_others
from finetuned.errors import MalformedExample

_SHARED: Final = (*SYSTEM_KEYS, "tools", "functions", "metadata", *MARKS)

REASONING_OF_WHICH: Final = Refused(
    "unsupported_key",
    "does not say which turn it belongs to",
    "Move it into the assistant's turn, as reasoning_content",
)


def conversation_keys(*used: str, refused: Mapping[Refused, str] | None = None) -> Keys:
    """
    Return the keys of a conversation format.

    Args:
        used: Those of the format itself.
        refused: Further ones that this format refuses: reason -> keys.
    """
    return table((*used, *_SHARED), KEPT, REFUSED_ROWS, refused or {})


def refuse_untrained(row: Row) -> None:
    """
    Refuse a row that is marked not to be trained.

    Raises:
        MalformedExample: not_to_train, or the mark cannot be honoured.
    """
    if not _MARKS.isdisjoint(row) and not is_trained(row):
        marks = ", ".join(f"{key} = {row[key]!r}" for key in MARKS if row.get(key) is not None)
        raise MalformedExample(
            "not_to_train",
            f"the row is marked not to be trained ({marks})",
            hint="Nothing is wrong with it, and it does not count against the file",
        )


_MARKS: Final = frozenset(MARKS)


def read_history(row: Row, draft: Draft) -> None:
    """
    Add the earlier turns of ``history``, a list of ``[question, answer]``.

    Raises:
        MalformedExample: bad_content or empty_content.
    """
    history = row.get("history") or []
    if not isinstance(history, list):
        raise MalformedExample("bad_content", f"history must be a list, got {kind_of(history)}")
    for i, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedExample("bad_content", f"history[{i}] must be [question, answer]")
        for j, role in enumerate(("user", "assistant")):
            draft.add({"role": role, "content": required_text(pair[j], f"history[{i}][{j}]")})


def conversation(row: Row, draft: Draft, name: str, keys: Keys) -> Example:
    """
    Return the example of a row whose turns are read.

    Turns after the last answer that carries loss are left out: there is nothing to learn.

    Args:
        row: The whole row.
        draft: Its turns.
        name: The format.
        keys: Of the format.

    Raises:
        MalformedExample: The code is one of no_assistant, no_prompt, not_to_train, bad_tools,
            bad_content, bad_intent, or of keys that are refused.
    """
    kept = draft.sort_keys(row, keys)
    refuse_untrained(row)
    draft.begin_with_system(row)
    messages = draft.messages
    answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if not answers:
        raise MalformedExample("no_assistant", "there is no assistant turn to learn from")
    if messages[0]["role"] == "assistant":
        raise MalformedExample("no_prompt", "the first message is an assistant turn; nothing asks")
    untrained = draft.untrained
    last = max((i for i in answers if i not in untrained), default=-1) if untrained else answers[-1]
    if last < 0:
        raise MalformedExample(
            "not_to_train",
            "every assistant turn is marked not to be trained",
            hint="Nothing is wrong with it, and it does not count against the file",
        )
    messages = messages[: last + 1]
    metadata = metadata_of(row, kept)
    if (intent := _password_intent(messages)) is not None:
        _hide_password(messages, intent)
        metadata = hidden(metadata, intent)
    return Example(
        kind="conversation",
        format=name,
        messages=messages,
        tools=tools_of(row),
        metadata=metadata,
        untrained=tuple(i for i in untrained if i < last),
    )


def metadata_of(row: Row, kept: dict[str, object]) -> dict[str, object]:
    """
    Return what is kept with an example: its other keys, and over them its ``metadata``.
    """
    given = row.get("metadata")
    if isinstance(given, dict):
        return {**kept, **given}
    return kept if given is None else {**kept, "metadata": given}


def hidden(metadata: dict[str, object], intent: Mapping[str, object]) -> dict[str, object]:
    """
    Return *metadata* without the passwords of *intent*.
    """
    clean = redact_others(metadata, intent)
    assert isinstance(clean, dict)  # noqa: S101 - an object stays one
    return clean


def redacted(prompt: str, intent: Mapping[str, object]) -> tuple[str, str]:
    """
    Return the prompt without the passwords of *intent*, and the intent as it is trained.

    Raises:
        MalformedExample: bad_intent.
    """
    try:
        prompt, clean = redact(prompt, intent)
        return prompt, dumps(canonical(clean))
    except IntentError as error:
        raise MalformedExample("bad_intent", f"output is not a usable intent: {error}") from None


def _password_intent(messages: list[Message]) -> dict[str, object] | None:
    """
    Return the last answer if it is a command with a password, whatever the row's format.
    """
    text = messages[-1]["content"]
    if '"password"' not in text or not text.lstrip().startswith("{"):
        return None
    try:
        intent = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return intent if is_intent(intent) else None


def _hide_password(messages: list[Message], intent: Mapping[str, object]) -> None:
    """
    Keep a user's password out of every file that is written.
    """
    answer, question = messages[-1], messages[-2]
    question["content"], answer["content"] = redacted(question["content"], intent)
    if "reasoning_content" in answer:
        answer["reasoning_content"], _ = redacted(answer["reasoning_content"], intent)
