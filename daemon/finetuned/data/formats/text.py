"""
Rows with ``text``, which is learned whole.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.examples import Example
from finetuned.data.formats.conversation import metadata_of, refuse_untrained
from finetuned.data.formats.draft import SYSTEM_KEYS, Draft
from finetuned.data.formats.keys import KEPT, MARKS, REFUSED_ROWS, Keys, Refused, Row, table
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.formats.turns import REASONING_KEYS
from finetuned.data.messages import kind_of, rename_hint
from finetuned.errors import MalformedExample

_ANSWER: Final = Refused(
    "answer_beside_text",
    "stands beside text, of which every word is learned and nothing else",
    'Write the row as {"input": question, "output": answer}, or put the whole into text and '
    "remove the other key",
)
_CONVERSATION: Final = Refused(
    "unsupported_key",
    "belongs to a conversation, and a row of text has none",
    "Write the row as messages, or remove the key",
)
_BESIDE_TEXT: Final = {
    _ANSWER: """output completion response answer answers summary target targets expected
        prompt instruction input question query translation""",
    _CONVERSATION: " ".join(("tools functions history", *SYSTEM_KEYS, *REASONING_KEYS)),
}

_KEYS: Final[Keys] = table(("text", "metadata", *MARKS), KEPT, REFUSED_ROWS, _BESIDE_TEXT)


def _read(row: Row, draft: Draft) -> Example:
    text = row["text"]
    if not isinstance(text, str):
        raise MalformedExample(
            "bad_content",
            f"text must be a string, got {kind_of(text)}",
            hint=rename_hint(row, "text"),
        )
    if not text.strip():
        raise MalformedExample("empty_content", "text is empty")
    kept = draft.sort_keys(row, _KEYS)
    refuse_untrained(row)
    return Example(kind="text", format="text", text=text, metadata=metadata_of(row, kept))


FORMAT: Final = RowFormat("text", "text", ("text",), _KEYS, _read)
