"""
Rows with ``instruction`` and ``output``, and perhaps ``input``, as Alpaca wrote them.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.examples import Example
from finetuned.data.formats.conversation import conversation, conversation_keys, read_history
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.keys import Row
from finetuned.data.formats.markup import refuse_markup
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.formats.turns import REASONING_KEYS, reasoning_of
from finetuned.data.messages import Message, required_text, text_of

_KEYS: Final = conversation_keys("instruction", "input", "output", "history", *REASONING_KEYS)


def _read(row: Row, draft: Draft) -> Example:
    read_history(row, draft)
    draft.add({"role": "user", "content": _question(row)})
    answer: Message = {"role": "assistant", "content": required_text(row["output"], "output")}
    reasoning = reasoning_of(row)
    if reasoning is not None:
        answer["reasoning_content"] = reasoning
    draft.add(answer)
    return conversation(row, draft, "alpaca", _KEYS)


def _question(row: Row) -> str:
    """
    Return the instruction and the input below it; an empty one of the two is left out.
    """
    given = row.get("input")
    text = "" if given is None else text_of(given, "input")
    instruction = text_of(row["instruction"], "instruction")
    if not text.strip():
        question = required_text(instruction, "instruction")
    else:
        question = f"{instruction}\n{text}" if instruction.strip() else text
    refuse_markup(question, "instruction")
    return question


FORMAT: Final = RowFormat(
    "alpaca",
    "instruction + output (+ input, system, history)",
    ("instruction", "output"),
    _KEYS,
    _read,
)
