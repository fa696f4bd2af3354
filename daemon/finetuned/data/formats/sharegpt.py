"""
Rows with ``conversations``: turns as ShareGPT writes them, or as OpenAI does.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.examples import Example
from finetuned.data.formats.conversation import (
    REASONING_OF_WHICH,
    conversation,
    conversation_keys,
)
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.keys import Row
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.formats.turns import REASONING_KEYS, read_turns

_KEYS: Final = conversation_keys(
    "conversations", refused={REASONING_OF_WHICH: " ".join(REASONING_KEYS)}
)


def _read(row: Row, draft: Draft) -> Example:
    read_turns(row["conversations"], "conversations", draft)
    return conversation(row, draft, "conversations", _KEYS)


FORMAT: Final = RowFormat("conversations", "conversations", ("conversations",), _KEYS, _read)
