"""
What of a growing answer is shown: not its reasoning block, and not its tool calls.

The tags are those that chat templates use: ``<think>``, and ``<tool_call>`` around a JSON
object. A call that is not one is text like any other; nothing is repaired. Pure; does not know
tokens.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

_THINK: Final = "<think>"
_THINK_END: Final = "</think>"
_CALL: Final = "<tool_call>"
_CALLS: Final = re.compile(r"(?:\s*<tool_call>(.*?)</tool_call>)+\s*", re.DOTALL)
_ONE_CALL: Final = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class AnswerParts:
    """
    The parts of one answer.
    """

    def __init__(self, *, opened: bool, calls: bool) -> None:
        """
        Args:
            opened: Whether the prompt has opened a reasoning block.
            calls: Whether the request has tools.
        """
        self._opened = opened
        self._calls = calls
        self.reasoning: str | None = None
        """The block that the answer began with, as far as it goes; None if there is none."""
        self.tool_calls: tuple[dict[str, Any], ...] = ()
        """As OpenAI writes them, without ids; known when the answer has ended."""

    def visible(self, text: str, *, ended: bool) -> str:
        """
        Return what is shown of *text*; with more text it only grows.

        Args:
            text: The answer so far.
            ended: Whether that is all.
        """
        rest = self._after_reasoning(text, ended)
        if not self._calls:
            return rest
        begin = rest.find(_CALL)
        if begin < 0:
            return rest if ended else _without_beginning_of(_CALL, rest)
        if ended:
            self.tool_calls = _parsed(rest[begin:])
            return rest[:begin] if self.tool_calls else rest
        return rest[:begin]

    def _after_reasoning(self, text: str, ended: bool) -> str:
        """Return the text after the reasoning block; empty as long as it may still go on."""
        begun = text.lstrip()
        if not self._opened and not begun.startswith(_THINK):
            return "" if not ended and _THINK.startswith(begun) else text
        inside, closing, after = begun.removeprefix(_THINK).partition(_THINK_END)
        self.reasoning = inside.strip()
        return after.lstrip() if closing else ""


def _without_beginning_of(tag: str, text: str) -> str:
    """Return *text* without an end that may become *tag*."""
    for n in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-n:]):
            return text[:-n]
    return text


def _parsed(text: str) -> tuple[dict[str, Any], ...]:
    """Return the calls that *text* consists of; none if any of it is something else."""
    if _CALLS.fullmatch(text) is None:
        return ()
    calls = []
    for body in _ONE_CALL.findall(text):
        try:
            call = orjson.loads(body)
        except orjson.JSONDecodeError:
            return ()
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return ()
        arguments = call.get("arguments", {})
        if not isinstance(arguments, dict):
            return ()
        function = {"name": call["name"], "arguments": orjson.dumps(arguments).decode()}
        calls.append({"type": "function", "function": function})
    return tuple(calls)
