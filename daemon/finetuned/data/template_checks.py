"""
Checks that a rendered conversation holds all of its example, and no structure of its own.

A template can lose a message (a role it does not know), and a message can add
structure (a control token in its text). Both are refused. Knows strings; does
not know tokenizers.
"""

from __future__ import annotations

import json
import re

from finetuned.data.examples import Example
from finetuned.errors import MalformedExample


def refuse_control_tokens(example: Example, control: re.Pattern[str]) -> None:
    """
    Refuse text that the tokenizer would read as structure.

    Args:
        example: A conversation.
        control: Matches each special token of the tokenizer.

    Raises:
        MalformedExample: The code is control_token; the reason names the message.
    """
    for i, message in enumerate(example.messages):
        for key in ("content", "reasoning_content"):
            if key in message:
                _refuse(message[key], f"message {i}", control)
        if "tool_calls" in message:
            _refuse(_json(message["tool_calls"]), f"message {i}'s tool call", control)
    if example.tools:
        _refuse(_json(example.tools), "tools", control)


def refuse_losses(example: Example, text: str) -> None:
    """
    Refuse an example if the template leaves out a part of it.

    Args:
        example: A conversation.
        text: How it was rendered, to the end of its last turn.

    Raises:
        MalformedExample: The code is template_drops; the reason names what is lost.
    """
    for i, message in enumerate(example.messages):
        # Templates may drop the reasoning of earlier turns, strip white space, and
        # write the result of a tool as a JSON string.
        content = message["content"].rpartition("</think>")[2].strip()
        if content not in text and _json(content)[1:-1] not in text:
            raise MalformedExample(
                "template_drops",
                f"this chat template drops the content of message {i} (role {message['role']!r})",
            )
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] not in text:
                raise MalformedExample(
                    "template_drops", f"this chat template drops tool calls (message {i})"
                )
    for tool in example.tools or ():
        if tool["function"]["name"] not in text:
            raise MalformedExample("template_drops", "this chat template drops the list of tools")


def _refuse(text: str, where: str, control: re.Pattern[str]) -> None:
    match = control.search(text)
    if match is not None:
        raise MalformedExample(
            "control_token",
            f"{where} contains {match.group()!r}, which this tokenizer reads as a control token",
        )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
