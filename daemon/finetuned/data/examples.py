"""
JSON values to training examples: every row format we accept, and one shape that comes out.

An example is a conversation (``messages``, perhaps ``tools``) or a plain text.
A value that is not a string is never converted into one: a bare number as an answer
is usually a broken export. The message names its place in the row.

Knows keys and roles; does not know templates, tokens or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

import orjson

from finetuned.data.intents import IntentError, canonical, dumps, is_intent
from finetuned.data.messages import (
    Message,
    kind_of,
    parse_list,
    parse_message,
    parse_sharegpt_message,
    parse_tools,
    required_text,
    text_of,
)
from finetuned.data.redaction import redact
from finetuned.errors import MalformedExample

FORMATS: Final = (
    "messages",
    "conversations",
    "prompt + completion",
    "instruction + output (+ input, system, history)",
    "input + output",
    "text",
)
"""What a row may look like, as error messages list it."""

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

    Messages after the last assistant turn are left out: they have no answer
    to learn. Alpaca's ``history`` becomes earlier turns.

    Raises:
        MalformedExample: The code is one of not_an_object, unknown_format,
            bad_content, empty_content, bad_role, bad_tools, bad_tool_call,
            bad_metadata, bad_intent, no_assistant, no_prompt; the reason names
            the place in the row.
    """
    if not isinstance(obj, dict):
        raise MalformedExample("not_an_object", f"a row must be a JSON object, got {kind_of(obj)}")
    for keys, convert in _CONVERTERS:
        if all(key in obj for key in keys):
            return convert(obj)
    listed = ", ".join(sorted(repr(str(k)[:40]) for k in obj)[:20]) or "none"
    raise MalformedExample(
        "unknown_format", f"no known format: keys are {listed}; expected {'; or '.join(FORMATS)}"
    )


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


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _hash64(value: object) -> int:
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


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
        tools=parse_tools(obj.get("tools")),
        metadata=_metadata(obj, (*used, "tools")),
    )


def _hide_password(messages: list[Message]) -> None:
    """
    Keep a user's password out of every file that is written, whatever the row's format.
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
        raise MalformedExample("bad_metadata", f"metadata must be an object, got {kind_of(given)}")
    others = {
        key: value
        for key, value in obj.items()
        if key not in used and key != "metadata" and isinstance(value, _SCALAR)
    }
    return {**others, **given} if given else others


def _from_messages(obj: dict[str, Any]) -> Example:
    return _conversation(
        "messages", parse_list(obj["messages"], "messages", parse_message), obj, ("messages",)
    )


def _from_conversations(obj: dict[str, Any]) -> Example:
    messages = parse_list(obj["conversations"], "conversations", parse_sharegpt_message)
    if obj.get("system"):
        messages.insert(0, {"role": "system", "content": required_text(obj["system"], "system")})
    return _conversation("conversations", messages, obj, ("conversations", "system"))


def _from_prompt(obj: dict[str, Any]) -> Example:
    messages: list[Message] = []
    for key, role in (("prompt", "user"), ("completion", "assistant")):
        value = obj[key]
        if isinstance(value, list):
            messages += parse_list(value, key, parse_message)
        else:
            messages.append({"role": role, "content": required_text(value, key)})
    if messages and messages[-1]["role"] != "assistant":
        raise MalformedExample("no_assistant", "completion does not end with an assistant turn")
    return _conversation("prompt", messages, obj, ("prompt", "completion"))


def _from_alpaca(obj: dict[str, Any]) -> Example:
    messages: list[Message] = []
    if obj.get("system"):
        messages.append({"role": "system", "content": required_text(obj["system"], "system")})
    history = obj.get("history") or []
    if not isinstance(history, list):
        raise MalformedExample("bad_content", f"history must be a list, got {kind_of(history)}")
    for i, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedExample("bad_content", f"history[{i}] must be [question, answer]")
        for j, role in enumerate(("user", "assistant")):
            messages.append({"role": role, "content": required_text(pair[j], f"history[{i}][{j}]")})
    question = required_text(obj["instruction"], "instruction")
    if obj.get("input") not in (None, ""):
        question = f"{question}\n{text_of(obj['input'], 'input')}"
    messages.append({"role": "user", "content": question})
    messages.append({"role": "assistant", "content": required_text(obj["output"], "output")})
    used = ("instruction", "input", "output", "system", "history")
    return _conversation("alpaca", messages, obj, used)


def _from_input(obj: dict[str, Any]) -> Example:
    question = required_text(obj["input"], "input")
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
        answer = required_text(output, "output")
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]
    return _conversation("input", messages, obj, ("input", "output"))


def _from_text(obj: dict[str, Any]) -> Example:
    text = obj["text"]
    if not isinstance(text, str):
        raise MalformedExample("bad_content", f"text must be a string, got {kind_of(text)}")
    if not text.strip():
        raise MalformedExample("empty_content", "text is empty")
    return Example(kind="text", format="text", text=text, metadata=_metadata(obj, ("text",)))


# The first match decides, the most specific keys first: a row with messages may have a text too.
_CONVERTERS: Final[tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], Example]], ...]] = (
    (("messages",), _from_messages),
    (("conversations",), _from_conversations),
    (("prompt", "completion"), _from_prompt),
    (("instruction", "output"), _from_alpaca),
    (("input", "output"), _from_input),
    (("text",), _from_text),
)
