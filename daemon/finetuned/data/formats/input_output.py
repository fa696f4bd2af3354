"""
Rows with ``input`` and ``output``; an output that is an object is trained as JSON text.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from finetuned.data.examples import Example
from finetuned.data.formats.conversation import (
    conversation,
    conversation_keys,
    hidden,
    read_history,
    redacted,
)
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.keys import Row
from finetuned.data.formats.markup import refuse_markup
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.formats.turns import REASONING_KEYS, reasoning_of
from finetuned.data.intents import is_intent
from finetuned.data.messages import Message, required_text

_KEYS: Final = conversation_keys("input", "output", "history", *REASONING_KEYS)


def _read(row: Row, draft: Draft) -> Example:
    question = required_text(row["input"], "input")
    refuse_markup(question, "input")
    reasoning = reasoning_of(row)
    output = row["output"]
    intent: object = output
    if isinstance(output, str) and output.lstrip().startswith("{"):
        try:
            intent = orjson.loads(output)
        except orjson.JSONDecodeError:
            intent = None  # text that only begins like JSON
    if is_intent(intent):
        assert isinstance(intent, dict)  # noqa: S101 - an intent is an object
        question, text = redacted(question, intent)
        if reasoning is not None:
            reasoning, _ = redacted(reasoning, intent)
    elif isinstance(output, dict):
        text = orjson.dumps(output).decode()
    else:
        text = required_text(output, "output")
    answer: Message = {"role": "assistant", "content": text}
    if reasoning is not None:
        answer["reasoning_content"] = reasoning
    read_history(row, draft)
    draft.add({"role": "user", "content": question})
    draft.add(answer)
    example = conversation(row, draft, "input", _KEYS)
    if isinstance(intent, dict) and is_intent(intent):
        return replace(example, metadata=hidden(example.metadata, intent))
    return example


FORMAT: Final = RowFormat(
    "input", "input + output (+ system, history)", ("input", "output"), _KEYS, _read
)
