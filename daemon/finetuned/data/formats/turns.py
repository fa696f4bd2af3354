"""
Turns of a conversation, as OpenAI writes them (role, content) and as ShareGPT does (from, value).

Every error names the place in the row and the value found there. Knows roles and
keys of turns; does not know which row formats exist.
"""

from __future__ import annotations

from typing import Final

from finetuned.data.formats.draft import Draft, is_trained
from finetuned.data.formats.keys import MARKS, REFUSED_TURNS, TURN_KEPT, Keys, Row, table
from finetuned.data.formats.markup import refuse_markup
from finetuned.data.formats.tools import embedded, tool_calls
from finetuned.data.messages import Message, kind_of, rename_hint, required_text, text_of
from finetuned.errors import MalformedExample

ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "function_call": "function_call",
    "tool_call": "function_call",
}
"""The name of a role in a row -> the role, or ``function_call``: the assistant's, as JSON text."""

REASONING_KEYS: Final = ("reasoning_content", "reasoning", "thinking")
"""Keys of a turn, or of a row with one answer, that hold the reasoning before an answer."""

_USED: Final = (
    *("role", "from", "content", "value", "tool_calls", "function_call", "name", "tool_call_id"),
    *REASONING_KEYS,
    *MARKS,
)
TURN_KEYS: Final[Keys] = table(
    _USED,
    TURN_KEPT,
    REFUSED_TURNS,
)

_PLAIN: Final = frozenset({"role", "from", "content", "value"})
_MARKS: Final = frozenset(MARKS)


def read_turns(value: object, where: str, draft: Draft) -> None:
    """
    Add each turn of a list.

    Args:
        value: What should be a list of turns.
        where: Its key.
        draft: The example in the making.

    Raises:
        MalformedExample: As ``read_turn``.
    """
    if not isinstance(value, list):
        raise MalformedExample("bad_content", f"{where} must be a list, got {kind_of(value)}")
    for i, turn in enumerate(value):
        read_turn(turn, f"{where}[{i}]", draft)


def read_turn(value: object, where: str, draft: Draft) -> None:
    """
    Add one turn.

    Raises:
        MalformedExample: The code is one of bad_role, bad_content, empty_content,
            bad_tool_call, or of keys that are refused.
    """
    if not isinstance(value, dict):
        raise MalformedExample("bad_content", f"{where} must be an object, got {kind_of(value)}")
    role = _role(value, where)
    message = _message(value, role, where)
    trained = True
    if not value.keys() <= _PLAIN:
        place = f"{where}."
        draft.sort_keys(value, TURN_KEYS, place)
        _add_rest(message, value, place)
        if not _MARKS.isdisjoint(value):
            trained = is_trained(value, place, assistant=message["role"] == "assistant")
    draft.add(message, trained=trained)


def reasoning_of(row: Row, place: str = "") -> str | None:
    """
    Return the reasoning that stands beside an answer, None if there is none.

    Raises:
        MalformedExample: bad_content: it is no text, or two keys give different ones.
    """
    found: dict[str, str] = {}
    for key in REASONING_KEYS:
        value = row.get(key)
        if value is not None and value != "":
            found[f"{place}{key}"] = text_of(value, f"{place}{key}")
    texts = {text for text in found.values() if text.strip()}
    if len(texts) > 1:
        raise MalformedExample(
            "bad_content", f"{' and '.join(found)} differ", hint="Keep one, as reasoning_content"
        )
    return texts.pop() if texts else None


def _role(value: Row, where: str) -> str:
    key = "from" if "from" in value and "role" not in value else "role"
    given = value.get(key)
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise MalformedExample(
            "bad_role", f"{where}.{key} must be one of {', '.join(ROLES)}, got {given!r:.60}"
        )
    return role


def _content(value: Row, where: str) -> tuple[object, str]:
    """
    Return the content and its place.
    """
    content, other = value.get("content"), value.get("value")
    if other is None:
        key = "value" if "from" in value and "content" not in value else "content"
        return content, f"{where}.{key}"
    if content is not None and content != other:
        raise MalformedExample(
            "bad_content", f"{where}.content and {where}.value differ", hint="Keep one of them"
        )
    return other, f"{where}.value"


def _message(value: Row, role: str, where: str) -> Message:
    content, place = _content(value, where)
    if role == "function_call":
        call = embedded(required_text(content, place), place, "bad_tool_call")
        message: Message = {
            "role": "assistant",
            "content": "",
            "tool_calls": tool_calls(call, place),
        }
    else:
        message = {"role": role, "content": ""}
        calls = value.get("tool_calls") or value.get("function_call")
        if calls:
            if role != "assistant":
                raise MalformedExample("bad_tool_call", f"{where}: only the assistant calls tools")
            message["tool_calls"] = tool_calls(calls, f"{where}.tool_calls")
            message["content"] = "" if content is None else text_of(content, place)
        elif content is None:
            if role != "system" or ("content" not in value and "value" not in value):
                hint = rename_hint(value, place.rpartition(".")[2])
                raise MalformedExample(
                    "bad_content", f"{place} must be a string, got null", hint=hint
                )
        elif role in ("tool", "system"):
            message["content"] = text_of(content, place)
        else:
            message["content"] = required_text(content, place)
            if role == "user":
                refuse_markup(message["content"], place)
    return message


def _add_rest(message: Message, value: Row, place: str) -> None:
    for key in ("name", "tool_call_id"):
        if isinstance(value.get(key), str):
            message[key] = value[key]
    reasoning = reasoning_of(value, place)
    if reasoning is not None:
        if message["role"] != "assistant":
            raise MalformedExample("bad_content", f"{place}role: only the assistant reasons")
        message["reasoning_content"] = reasoning
