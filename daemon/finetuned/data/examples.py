"""
JSON values to training examples: every row format we accept, and one shape that comes out.

An example is a conversation (``messages``, perhaps ``tools``) or a plain text.
What is not a string is never made into one: a bare number as an answer is far
more often a broken export than a wish, and the message says where it stands.

Knows keys and roles; does not know templates, tokens or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson

from finetuned.data.intents import IntentError, canonical, dumps, is_intent, redact
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample

Message = dict[str, Any]

FORMATS: Final = (
    "messages",
    "conversations",
    "prompt + completion",
    "instruction + output (+ input, system, history)",
    "input + output",
    "text",
)
"""What a row may look like, as error messages list it."""

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
_SCALAR: Final = (str, int, float, bool)


@dataclass(frozen=True, slots=True)
class Example:
    """
    One training example, whatever format its row had.
    """

    kind: str
    """ "conversation" or "text"."""

    format: str
    """The format its row had, one word: messages, conversations, prompt, alpaca, input, text."""

    messages: list[Message] = field(default_factory=list)
    """
    ``role`` (system, user, assistant, tool), ``content`` (always a string) and,
    where given, ``tool_calls`` (``{"type", "function": {"name", "arguments":
    object}}``), ``name``, ``tool_call_id``, ``reasoning_content``. The last one
    is an assistant turn.
    """

    tools: list[dict[str, Any]] | None = None
    """Function schemas as OpenAI writes them, or None; never empty."""

    text: str | None = None
    """The whole text of a "text" example."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """The row's ``metadata`` and its other scalar keys."""


def to_example(obj: object) -> Example:
    """
    Turn one parsed row into an example.

    Messages after the last assistant turn are left out: there is nothing to
    learn from them. Alpaca's ``history`` becomes earlier turns.

    Raises:
        MalformedExample: The code is one of not_an_object, unknown_format,
            bad_content, empty_content, bad_role, bad_tools, bad_tool_call,
            bad_metadata, bad_intent, no_assistant, no_prompt; the reason names
            the place in the row.
    """
    if not isinstance(obj, dict):
        raise MalformedExample("not_an_object", f"a row must be a JSON object, got {_kind(obj)}")
    for keys, convert in _CONVERTERS:
        if all(key in obj for key in keys):
            return convert(obj)
    listed = ", ".join(sorted(repr(str(k)[:40]) for k in obj)[:20]) or "none"
    raise MalformedExample(
        "unknown_format", f"no known format: keys are {listed}; expected {'; or '.join(FORMATS)}"
    )


def prompt_of(example: Example) -> str:
    """
    Return everything before the last assistant turn, as canonical JSON.

    A text has no prompt; it stands for itself.
    """
    if example.kind == "text":
        return _canonical_json({"text": example.text})
    return _canonical_json({"messages": example.messages[:-1], "tools": example.tools})


def prompt_hash(example: Example) -> int:
    """
    Return a stable 64-bit hash of the prompt, the same for every row format.

    White space is stripped and collapsed first, so that a prompt that differs
    only in it counts as the same. Ids of messages and calls do not count.
    """
    if example.kind == "text":
        return _hash64(["text", _collapse(example.text or "")])
    turns = []
    for message in example.messages[:-1]:
        turn: list[Any] = [message["role"], _collapse(message["content"])]
        if calls := message.get("tool_calls"):
            turn.append([[c["function"]["name"], c["function"]["arguments"]] for c in calls])
        turns.append(turn)
    return _hash64([turns, example.tools])


def to_record(example: Example) -> dict[str, Any]:
    """
    Return the example as a JSON object from which ``from_record`` makes it again.
    """
    record: dict[str, Any] = {"kind": example.kind, "format": example.format}
    if example.kind == "text":
        record["text"] = example.text
    else:
        record["messages"] = example.messages
        if example.tools is not None:
            record["tools"] = example.tools
    record["metadata"] = example.metadata
    return record


def from_record(record: Mapping[str, Any]) -> Example:
    """
    Return the example that ``to_record`` wrote; other keys of *record* are ignored.
    """
    return Example(
        kind=record["kind"],
        format=record["format"],
        messages=record.get("messages", []),
        tools=record.get("tools"),
        text=record.get("text"),
        metadata=record["metadata"],
    )


def _canonical_json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _hash64(value: object) -> int:
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _kind(value: object) -> str:
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a string", int: "an integer",
        float: "a number", bool: "a boolean", type(None): "null",
    }  # fmt: skip
    shown = "" if isinstance(value, dict | list) or value is None else f" {str(value)[:40]!r}"
    return names[type(value)] + shown


def _text_of(value: object, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(value))
    raise MalformedExample("bad_content", f"{where} must be a string, got {_kind(value)}")


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") != "text":
        kind = part.get("type") if isinstance(part, dict) else _kind(part)
        raise MalformedExample("bad_content", f"{where} must be a text part, got {kind!s:.40}")
    if not isinstance(part.get("text"), str):
        raise MalformedExample(
            "bad_content", f"{where}.text must be a string, got {_kind(part.get('text'))}"
        )
    return str(part["text"])


def _required(value: object, where: str) -> str:
    text = _text_of(value, where)
    if not text.strip():
        raise MalformedExample("empty_content", f"{where} is empty")
    return text


def _embedded(value: object, where: str, code: str) -> object:
    """
    Return *value*, parsed first where it is a string that holds JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return parse_line(value.encode())
    except MalformedExample as error:
        raise MalformedExample(code, f"{where} is not JSON: {error.reason}") from None


def _tools(value: object) -> list[dict[str, Any]] | None:
    if value is None or value == "":
        return None
    value = _embedded(value, "tools", "bad_tools")
    if not isinstance(value, list):
        raise MalformedExample("bad_tools", f"tools must be a list, got {_kind(value)}")
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
                "bad_tool_call", f"{place}.arguments must be an object, got {_kind(arguments)}"
            )
        made = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if isinstance(call, dict) and isinstance(call.get("id"), str):
            made["id"] = call["id"]
        result.append(made)
    return result


def _message(value: object, where: str) -> Message:
    if not isinstance(value, dict):
        raise MalformedExample("bad_content", f"{where} must be an object, got {_kind(value)}")
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
            message["content"] = _text_of(value["content"], place)
    elif role == "tool":
        message["content"] = _text_of(value.get("content"), place)
    else:
        message["content"] = _required(value.get("content"), place)
    for key in ("name", "tool_call_id", "reasoning_content"):
        if isinstance(value.get(key), str):
            message[key] = value[key]
    return message


def _sharegpt_message(value: object, where: str) -> Message:
    if not isinstance(value, dict):
        raise MalformedExample("bad_content", f"{where} must be an object, got {_kind(value)}")
    if "role" in value and "from" not in value:
        return _message(value, where)
    given = value.get("from")
    role = _SHAREGPT_ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise MalformedExample(
            "bad_role", f"{where}.from must be one of {', '.join(_SHAREGPT_ROLES)}, got {given!r:.60}"
        )
    if role == "function_call":
        place = f"{where}.value"
        calls = _embedded(_required(value.get("value"), place), place, "bad_tool_call")
        return {"role": "assistant", "content": "", "tool_calls": _tool_calls(calls, place)}
    if role == "tool":
        return {"role": role, "content": _text_of(value.get("value"), f"{where}.value")}
    return {"role": role, "content": _required(value.get("value"), f"{where}.value")}


def _listed(value: object, where: str, convert: Callable[[object, str], Message]) -> list[Message]:
    if not isinstance(value, list):
        raise MalformedExample("bad_content", f"{where} must be a list, got {_kind(value)}")
    return [convert(item, f"{where}[{i}]") for i, item in enumerate(value)]


def _conversation(
    name: str, messages: list[Message], obj: Mapping[str, Any], used: tuple[str, ...]
) -> Example:
    last = max((i for i, m in enumerate(messages) if m["role"] == "assistant"), default=-1)
    if last < 0:
        raise MalformedExample("no_assistant", "there is no assistant turn to learn from")
    if messages[0]["role"] == "assistant":
        raise MalformedExample("no_prompt", "the first message is an assistant turn; nothing asks")
    messages = messages[: last + 1]
    _hide_password(messages)
    return Example(
        kind="conversation",
        format=name,
        messages=messages,
        tools=_tools(obj.get("tools")),
        metadata=_metadata(obj, (*used, "tools")),
    )


def _hide_password(messages: list[Message]) -> None:
    """
    Keep a user's password out of every file we write, in whatever format it came.
    """
    answer, question = messages[-1], messages[-2]
    if '"password"' not in answer["content"] or not answer["content"].lstrip().startswith("{"):
        return
    try:
        intent = orjson.loads(answer["content"])
    except orjson.JSONDecodeError:
        return
    if is_intent(intent):
        question["content"], answer["content"] = _redacted(question["content"], intent)


def _redacted(prompt: str, intent: Mapping[str, Any]) -> tuple[str, str]:
    try:
        prompt, clean = redact(prompt, intent)
        return prompt, dumps(canonical(clean))
    except IntentError as error:
        raise MalformedExample("bad_intent", f"output is not a usable intent: {error}") from None


def _metadata(obj: Mapping[str, Any], used: tuple[str, ...]) -> dict[str, Any]:
    given = obj.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise MalformedExample("bad_metadata", f"metadata must be an object, got {_kind(given)}")
    others = {
        key: value
        for key, value in obj.items()
        if key not in used and key != "metadata" and isinstance(value, _SCALAR)
    }
    return {**others, **given} if given else others


def _from_messages(obj: dict[str, Any]) -> Example:
    return _conversation(
        "messages", _listed(obj["messages"], "messages", _message), obj, ("messages",)
    )


def _from_conversations(obj: dict[str, Any]) -> Example:
    messages = _listed(obj["conversations"], "conversations", _sharegpt_message)
    if obj.get("system"):
        messages.insert(0, {"role": "system", "content": _required(obj["system"], "system")})
    return _conversation("conversations", messages, obj, ("conversations", "system"))


def _from_prompt(obj: dict[str, Any]) -> Example:
    messages: list[Message] = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        value = obj[key]
        if isinstance(value, list):
            messages += _listed(value, key, _message)
        else:
            messages.append({"role": role, "content": _required(value, key)})
    if messages and messages[-1]["role"] != "assistant":
        raise MalformedExample("no_assistant", "completion does not end with an assistant turn")
    return _conversation("prompt", messages, obj, ("prompt", "completion"))


def _from_alpaca(obj: dict[str, Any]) -> Example:
    messages: list[Message] = []
    if obj.get("system"):
        messages.append({"role": "system", "content": _required(obj["system"], "system")})
    history = obj.get("history") or []
    if not isinstance(history, list):
        raise MalformedExample("bad_content", f"history must be a list, got {_kind(history)}")
    for i, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedExample("bad_content", f"history[{i}] must be [question, answer]")
        for j, role in enumerate(("user", "assistant")):
            messages.append({"role": role, "content": _required(pair[j], f"history[{i}][{j}]")})
    question = _required(obj["instruction"], "instruction")
    if obj.get("input") not in (None, ""):
        question = f"{question}\n{_text_of(obj['input'], 'input')}"
    messages.append({"role": "user", "content": question})
    messages.append({"role": "assistant", "content": _required(obj["output"], "output")})
    used = ("instruction", "input", "output", "system", "history")
    return _conversation("alpaca", messages, obj, used)


def _from_input(obj: dict[str, Any]) -> Example:
    question = _required(obj["input"], "input")
    output = obj["output"]
    intent = output
    if isinstance(output, str) and output.lstrip().startswith("{"):
        try:
            intent = orjson.loads(output)
        except orjson.JSONDecodeError:
            intent = None  # text that only begins like JSON
    if is_intent(intent):
        question, answer = _redacted(question, intent)
    elif isinstance(output, dict):
        answer = orjson.dumps(output).decode()
    else:
        answer = _required(output, "output")
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return _conversation("input", messages, obj, ("input", "output"))


def _from_text(obj: dict[str, Any]) -> Example:
    text = obj["text"]
    if not isinstance(text, str):
        raise MalformedExample("bad_content", f"text must be a string, got {_kind(text)}")
    if not text.strip():
        raise MalformedExample("empty_content", "text is empty")
    return Example(kind="text", format="text", text=text, metadata=_metadata(obj, ("text",)))


# The first match decides, the most telling keys first: a row with messages may also have a text.
_CONVERTERS: Final[tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], Example]], ...]] = (
    (("messages",), _from_messages),
    (("conversations",), _from_conversations),
    (("prompt", "completion"), _from_prompt),
    (("instruction", "output"), _from_alpaca),
    (("input", "output"), _from_input),
    (("text",), _from_text),
)
