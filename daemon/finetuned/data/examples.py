"""
Training examples: the one shape that a row of any format becomes, its hash and its record.

An example is a conversation (``messages``, perhaps ``tools``) or a plain text.
Does not know formats, templates, tokens or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from finetuned.data.messages import Message, Tool


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

    tools: list[Tool] | None = None
    """Function schemas as OpenAI writes them, or None; never empty."""

    text: str | None = None
    """The whole text of a "text" example."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """The row's ``metadata`` and its other keys that nothing is made of."""

    untrained: tuple[int, ...] = ()
    """
    Places in ``messages`` of assistant turns that carry no loss, in order. The last
    message is never one of them.
    """


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
        if example.untrained:
            record["untrained"] = list(example.untrained)
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
        untrained=tuple(record.get("untrained", ())),
    )


def _collapse(text: str) -> str:
    return " ".join(text.split())


def _hash64(value: object) -> int:
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
