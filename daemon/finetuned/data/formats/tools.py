"""
Tools and calls of tools, in each spelling that rows have.

Every error names the place in the row and the value found there.
"""

from __future__ import annotations

from finetuned.data.formats.keys import Row
from finetuned.data.messages import Tool, kind_of
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample


def embedded(value: object, where: str, code: str) -> object:
    """
    Return *value*, parsed if it is a string that holds JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_line(value.encode())
    except MalformedExample as error:
        raise MalformedExample(code, f"{where} is not JSON: {error.reason}") from None


def parse_tools(value: object, where: str = "tools") -> list[Tool] | None:
    """
    Return function schemas from a list of them, or from JSON text that holds the list.

    Raises:
        MalformedExample: bad_tools.
    """
    if value is None or value == "":
        return None
    value = embedded(value, where, "bad_tools")
    if not isinstance(value, list):
        raise MalformedExample("bad_tools", f"{where} must be a list, got {kind_of(value)}")
    tools: list[Tool] = []
    for i, tool in enumerate(value):
        # Written flat by some: {"name", "description", "parameters"}.
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MalformedExample("bad_tools", f"{where}[{i}] has no function name")
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tools or None


def tools_of(row: Row) -> list[Tool] | None:
    """
    Return the tools of a row: ``tools``, or ``functions`` as OpenAI named them before.

    Raises:
        MalformedExample: bad_tools: they cannot be read, or both are given and differ.
    """
    tools = parse_tools(row.get("tools"))
    older = parse_tools(row.get("functions"), "functions")
    if tools and older and tools != older:
        raise MalformedExample(
            "bad_tools", "tools and functions differ", hint="Keep one list, as tools"
        )
    return tools or older


def tool_calls(value: object, where: str) -> list[Tool]:
    """
    Return the calls of an assistant turn from a list of them or from one.

    Arguments are an object, or JSON text of one; an empty text and null mean that there are none.

    Raises:
        MalformedExample: bad_tool_call.
    """
    calls = value if isinstance(value, list) else [value]
    result: list[Tool] = []
    for i, call in enumerate(calls):
        place = f"{where}[{i}]"
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise MalformedExample("bad_tool_call", f"{place} has no function name")
        given = function.get("arguments", function.get("parameters"))
        empty = given is None or (isinstance(given, str) and not given.strip())
        arguments = {} if empty else embedded(given, f"{place}.arguments", "bad_tool_call")
        if not isinstance(arguments, dict):
            raise MalformedExample(
                "bad_tool_call", f"{place}.arguments must be an object, got {kind_of(arguments)}"
            )
        made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            made["id"] = call["id"]
        result.append(made)
    return result
