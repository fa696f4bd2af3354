"""
Rows with ``prompt`` and ``completion``, each a text or a list of turns.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.examples import Example
from finetuned.data.formats.conversation import conversation, conversation_keys, read_history
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.keys import Row
from finetuned.data.formats.markup import refuse_markup
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.formats.turns import REASONING_KEYS, read_turns, reasoning_of
from finetuned.data.messages import required_text
from finetuned.errors import MalformedExample

_KEYS: Final = conversation_keys("prompt", "completion", "history", *REASONING_KEYS)


def _read(row: Row, draft: Draft) -> Example:
    prompt, completion = row["prompt"], row["completion"]
    read_history(row, draft)
    if isinstance(prompt, list):
        read_turns(prompt, "prompt", draft)
        # A prompt is what the completion answers: its own answers are context.
        draft.untrained = [i for i, m in enumerate(draft.messages) if m["role"] == "assistant"]
    else:
        question = required_text(prompt, "prompt")
        refuse_markup(question, "prompt")
        draft.add({"role": "user", "content": question})
    if isinstance(completion, list):
        read_turns(completion, "completion", draft)
    else:
        draft.add({"role": "assistant", "content": required_text(completion, "completion")})
    if draft.messages and draft.messages[-1]["role"] != "assistant":
        raise MalformedExample("no_assistant", "completion does not end with an assistant turn")
    reasoning = reasoning_of(row)
    if reasoning is not None:
        draft.messages[-1]["reasoning_content"] = reasoning
    return conversation(row, draft, "prompt", _KEYS)


FORMAT: Final = RowFormat(
    "prompt", "prompt + completion (+ history)", ("prompt", "completion"), _KEYS, _read
)
