"""
Checks that a rendered conversation holds all of its example, and no structure of its own.

A template can lose a message (a role it does not know) or a part of one, and a message can
add structure (a control token in its text). Both are refused.

What a template loses is found by position: an example of the same shape is rendered with a
marker in the place of each part, and a marker that does not come out is a part that is lost.
Searching for the text of a part instead would find it in another message. Each shape is
rendered once. Knows strings; does not know tokenizers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from finetuned.data.examples import Example
from finetuned.data.messages import Message, Tool
from finetuned.data.turn import Turn
from finetuned.errors import MalformedExample

MAX_SHAPES: Final = 10_000
"""Most shapes whose losses are remembered; a file has a few, of conversations perhaps hundreds."""

_CALL_ID: Final = "q7k4z0w1x"
"""The id of a call in a marked example: nine letters and digits, as some templates demand."""

_TESTED: Final = re.compile(
    r"""(?:startswith|endswith|r?split|replace|r?find|r?index|count|partition)\(\s*(['"])(.+?)\1"""
    r"""|(['"])((?:(?!\3).)+?)\3\s+(?:not\s+)?in\s"""
)
"""Where a template looks for a text in a content: arguments of methods, and ``'x' in content``."""

_Shape = tuple[object, ...]
_Part = tuple[bool | str, ...]


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


class LossCheck:
    """
    Finds what one chat template leaves out.
    """

    def __init__(self, source: str, turns: Callable[[Example], Sequence[Turn]]) -> None:
        """
        Args:
            source: The template: a content that holds a text it looks for is a shape of its own.
            turns: Renders the trained turns of an example, and raises MalformedExample.
        """
        self._turns = turns
        self._splits = _any_of(_tested_texts(source))
        self._losses: dict[_Shape, str | None] = {}

    def refuse_losses(self, example: Example, turns: Sequence[Turn]) -> None:
        """
        Refuse an example if the template leaves out a part of it.

        Args:
            example: A conversation.
            turns: How its trained turns were rendered.

        Raises:
            MalformedExample: The code is template_drops; the reason names what is lost.
        """
        shape = self._shape(example)
        try:
            loss = self._losses[shape]
        except KeyError:
            if len(self._losses) >= MAX_SHAPES:
                self._losses.clear()
            loss = self._losses[shape] = self._find_loss(example)
        if loss is None:
            loss = _altered(example, turns[-1].prompt + turns[-1].answer)
        if loss is not None:
            raise MalformedExample(
                "template_drops",
                f"this chat template drops {loss}",
                hint="Leave that part out of the row, or use a base whose template has it",
            )

    def _shape(self, example: Example) -> _Shape:
        """
        Return what the template may decide by: equal shapes lose the same parts.
        """
        turns: list[object] = [example.untrained, len(example.tools or ())]
        for message in example.messages:
            turns.append(message["role"])
            turns.append(self._parts(message["content"]))
            if len(message) > 2:
                turns.append(tuple(sorted(message)))
                turns.append(self._parts(message.get("reasoning_content", "")))
                turns += [bool(c["function"]["arguments"]) for c in message.get("tool_calls", ())]
        return tuple(turns)

    def _parts(self, text: str) -> _Part:
        """
        Return whether each piece of a text says something, and what the template may look for.
        """
        pieces = self._splits.split(text)
        if len(pieces) == 1:
            return (bool(text) and not text.isspace(),)
        return tuple(p if i % 2 else bool(p.strip()) for i, p in enumerate(pieces))

    def _find_loss(self, example: Example) -> str | None:
        """
        Render the example with markers, and return what does not come out.
        """
        marked = _Marked(self._parts)
        copy = replace(
            example,
            messages=[marked.message(m) for m in example.messages],
            tools=[marked.tool(t) for t in example.tools] if example.tools else None,
        )
        try:
            turns = self._turns(copy)
        except MalformedExample:
            return None  # it refuses markers, whatever it makes of the row itself
        trained = [
            i
            for i, m in enumerate(copy.messages)
            if m["role"] == "assistant" and i not in example.untrained
        ]
        answers = dict(zip(trained, (turn.answer for turn in turns), strict=True))
        last = turns[-1].prompt
        for i, (message, parts) in enumerate(zip(example.messages, marked.messages, strict=True)):
            text = answers.get(i, last)
            for what, marker in parts.all(learned=i in answers):
                if marker not in text:
                    return f"{what} of message {i} (role {message['role']!r})"
            if i in answers and i != trained[-1]:
                for what, marker in parts.all(learned=False):
                    if marker not in last:
                        return f"{what} of message {i} (role {message['role']!r}) in later turns"
        return next(("the list of tools" for marker in marked.tools if marker not in last), None)


@dataclass(frozen=True, slots=True)
class _Markers:
    """
    The markers of one message.
    """

    content: list[str]
    answer: list[str]
    """Those of the content that stand after its reasoning block."""
    reasoning: list[str]
    calls: list[str]

    def all(self, *, learned: bool) -> Iterator[tuple[str, str]]:
        """
        Yield what each marker stands for, and the marker.

        Args:
            learned: Whether the turn itself is looked at; templates may leave the
                reasoning of earlier turns out.
        """
        yield from (("the content", m) for m in (self.content if learned else self.answer))
        if learned:
            yield from (("the reasoning", m) for m in self.reasoning)
        yield from (("tool calls", m) for m in self.calls)


class _Marked:
    """
    A copy of an example with a marker in the place of each part.
    """

    def __init__(self, parts: Callable[[str], _Part]) -> None:
        self._parts = parts
        self._n = 0
        self.messages: list[_Markers] = []
        self.tools: list[str] = []

    def message(self, message: Message) -> Message:
        content, markers = self._text(message["content"])
        after = content.rpartition("</think>")[2]
        copy: Message = {**message, "content": content}
        reasoning: list[str] = []
        if "reasoning_content" in message:
            copy["reasoning_content"], reasoning = self._text(message["reasoning_content"])
        calls: list[str] = []
        if "tool_calls" in message:
            copy["tool_calls"] = [self._call(call, calls) for call in message["tool_calls"]]
        if "tool_call_id" in message:
            copy["tool_call_id"] = _CALL_ID
        answer = [m for m in markers if m in after]
        self.messages.append(_Markers(markers, answer, reasoning, calls))
        return copy

    def tool(self, tool: Tool) -> Tool:
        self.tools.append(self._marker())
        return {**tool, "function": {**tool["function"], "name": self.tools[-1]}}

    def _call(self, call: Tool, markers: list[str]) -> Tool:
        markers.append(self._marker())
        function = {"name": markers[-1], "arguments": {}}
        if call["function"]["arguments"]:
            markers += [self._marker(), self._marker()]
            function["arguments"] = {markers[-2]: markers[-1]}
        copy = {**call, "function": function}
        return {**copy, "id": _CALL_ID} if "id" in call else copy

    def _text(self, text: str) -> tuple[str, list[str]]:
        markers: list[str] = []
        pieces: list[str] = []
        for part in self._parts(text):
            if part is True:
                markers.append(self._marker())
            pieces.append(part if isinstance(part, str) else markers[-1] if part else "")
        return "".join(pieces), markers

    def _marker(self) -> str:
        self._n += 1
        return f"k7q{self._n}z"


def _tested_texts(source: str) -> set[str]:
    found = {"<think>", "</think>"}
    for match in _TESTED.finditer(source):
        text = (match[2] or match[4]).replace("\\n", "\n").strip()
        if len(text) > 1 and not text.isidentifier():
            found.add(text)
    return found


def _any_of(texts: set[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(re.escape(t) for t in sorted(texts, key=len)[::-1]) + ")")


def _altered(example: Example, text: str) -> str | None:
    """
    Return what the template has shortened or rewritten, although it has a place for it.
    """
    for i, message in enumerate(example.messages):
        # Templates may drop the reasoning of earlier turns, strip white space, and
        # write the result of a tool as a JSON string.
        content = message["content"].rpartition("</think>")[2].strip()
        if content not in text and _json(content)[1:-1] not in text:
            return f"a part of the content of message {i} (role {message['role']!r})"
    return None


def _refuse(text: str, where: str, control: re.Pattern[str]) -> None:
    match = control.search(text)
    if match is not None:
        raise MalformedExample(
            "control_token",
            f"{where} contains {match.group()!r}, which this tokenizer reads as a control token",
            hint="Remove it: it would forge the structure of the conversation",
        )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
