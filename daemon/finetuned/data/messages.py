"""
The pieces of a row: text, messages, tools and tool calls, checked one by one.

Every error names the place in the row and the value found there.
Knows roles and keys of messages; does not know which row formats exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample

Message = dict[str, Any]
"""``role``, ``content`` and the keys that examples.Example documents."""

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_SHAREGPT_ROLES: Final = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "function_call",
    "tool_call": "function_call",
    "observation": "tool",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}


def kind_of(value: object) -> str:
    """
    Return *value* as an error message shows it: its JSON type, and a short value itself.
    """
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a string", int: "an integer",
        float: "a number", bool: "a boolean", type(None): "null",
    }  # fmt: skip
    shown = "" if isinstance(value, dict | list) or value is None else f" {str(value)[:40]!r}"
    return names[type(value)] + shown


def text_of(value: object, where: str) -> str:
    """
    Return the text of a string or of a list of text parts, joined.

    Raises:
        MalformedExample: bad_content: it is another kind of value; nothing is converted.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(value))
    raise MalformedExample("bad_content", f"{where} must be a string, got {kind_of(value)}")


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") != "text":
        kind = part.get("type") if isinstance(part, dict) else kind_of(part)
        raise MalformedExample("bad_content", f"{where} must be a text part, got {kind!s:.40}")
    if not isinstance(part.get("text"), str):
        raise MalformedExample(
            "bad_content", f"{where}.text must be a string, got {kind_of(part.get('text'))}"
        )
    return str(part["text"])


def required_text(value: object, where: str) -> str:
    """
    Return the text of *value*, which must not be blank.

    Raises:
        MalformedExample: bad_content or empty_content.
    """
    text = text_of(value, where)
    if not text.strip():
        raise MalformedExample("empty_content", f"{where} is empty")
    return text


def _embedded(value: object, where: str, code: str) -> object:
    """
    Return *value*, parsed if it is a string that holds JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_line(value.encode())
    except MalformedExample as error:
        raise MalformedExample(code, f"{where} is not JSON: {error.reason}") from None


def parse_tools(value: object) -> list[dict[str, Any]] | None:
    """
    Return function schemas from a list of them, or from JSON text that holds the list.

    Raises:
        MalformedExample: bad_tools.
    """
    if value is None or value == "":
        return None
    value = _embedded(value, "tools", "bad_tools")
    if not isinstance(value, list):
        raise MalformedExample("bad_tools", f"tools must be a list, got {kind_of(value)}")
    tools: list[dict[str, Any]] = []
    for i, tool in enumerate(value):
        # Written flat by some: {"name", "description", "parameters"}.
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MalformedExample("bad_tools", f"tools[{i}] has no function name")
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tools or None


def _tool_calls(value: object, where: str) -> list[dict[str, Any]]:
    calls = value if isinstance(value, list) else [value]
    result: list[dict[str, Any]] = []
    for i, call in enumerate(calls):
        place = f"{where}[{i}]"
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MalformedExample("bad_tool_call", f"{place} has no function name")
        given = function.get("arguments", function.get("parameters", {}))
        arguments = _embedded(given, f"{place}.arguments", "bad_tool_call")
        if not isinstance(arguments, dict):
            raise MalformedExample(
                "bad_tool_call", f"{place}.arguments must be an object, got {kind_of(arguments)}"
            )
        made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            made["id"] = call["id"]
        result.append(made)
    return result


def parse_message(value: object, where: str) -> Message:
    """
    Return one message in the ``role`` / ``content`` spelling.

    Raises:
        MalformedExample: bad_role, bad_content, empty_content or bad_tool_call.
    """
    if not isinstance(value, dict):
        raise MalformedExample("bad_content", f"{where} must be an object, got {kind_of(value)}")
    given = value.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise MalformedExample(
            "bad_role", f"{where}.role must be one of {', '.join(_ROLES)}, got {given!r:.60}"
        )
    if value.get("weight", 1) != 1:
        raise MalformedExample(
            "bad_content", f"{where}.weight is not supported: every assistant turn is trained on"
        )
    calls = value.get("tool_calls") or value.get("function_call")
    message: Message = {"role": role, "content": ""}
    place = f"{where}.content"
    if calls:
        if role != "assistant":
            raise MalformedExample("bad_tool_call", f"{where}: only the assistant calls tools")
        message["tool_calls"] = _tool_calls(calls, f"{where}.tool_calls")
        if value.get("content") is not None:
            message["content"] = text_of(value["content"], place)
    elif role == "tool":
        message["content"] = text_of(value.get("content"), place)
    else:
        message["content"] = required_text(value.get("content"), place)
    for key in ("name", "tool_call_id", "reasoning_content"):
        if isinstance(value.get(key), str):
            message[key] = value[key]
    return message


def parse_sharegpt_message(value: object, where: str) -> Message:
    """
    Return one message in the ``from`` / ``value`` spelling.

    Raises:
        MalformedExample: As ``parse_message``.
    """
    if not isinstance(value, dict):
        raise MalformedExample("bad_content", f"{where} must be an object, got {kind_of(value)}")
    if "role" in value and "from" not in value:
        return parse_message(value, where)
    given = value.get("from")
    role = _SHAREGPT_ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise MalformedExample(
            "bad_role",
            f"{where}.from must be one of {', '.join(_SHAREGPT_ROLES)}, got {given!r:.60}",
        )
    if role == "function_call":
        place = f"{where}.value"
        calls = _embedded(required_text(value.get("value"), place), place, "bad_tool_call")
        return {"role": "assistant", "content": "", "tool_calls": _tool_calls(calls, place)}
    if role == "tool":
        return {"role": role, "content": text_of(value.get("value"), f"{where}.value")}
    return {"role": role, "content": required_text(value.get("value"), f"{where}.value")}


def parse_list(
    value: object, where: str, convert: Callable[[object, str], Message]
) -> list[Message]:
    if not isinstance(value, list):
        raise MalformedExample("bad_content", f"{where} must be a list, got {kind_of(value)}")
    return [convert(item, f"{where}[{i}]") for i, item in enumerate(value)]
