"""
Rows with ``messages``: turns as OpenAI writes them.
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

_KEYS: Final = conversation_keys("messages", refused={REASONING_OF_WHICH: " ".join(REASONING_KEYS)})


def _read(row: Row, draft: Draft) -> Example:
    read_turns(row["messages"], "messages", draft)
    return conversation(row, draft, "messages", _KEYS)


FORMAT: Final = RowFormat("messages", "messages", ("messages",), _KEYS, _read)
