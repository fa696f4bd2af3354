"""
What is shown of a growing answer is never taken back.
"""

from __future__ import annotations

import pytest

from finetuned.serving.engine.parts import AnswerParts
from finetuned.serving.engine.text import AnswerText


def shown(pieces: list[bytes], *stops: str) -> tuple[list[str], bool]:
    """
    Return what is shown after each token, and whether a stop text was reached.

    A token's number is its place in *pieces*; its text is these bytes.
    """
    text = AnswerText(lambda ids: b"".join(pieces[i] for i in ids).decode(errors="replace"), stops)
    found = []
    for i in range(len(pieces)):
        text.add(i)
        found.append(text.take(ended=i == len(pieces) - 1))
        if text.stopped:
            break
    return found, text.stopped


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        ([b"ab", b"c"], (), (["ab", "c"], False)),
        (["ü".encode()[:1], "ü".encode()[1:], b"x"], (), (["", "ü", "x"], False)),
        ([b"x", "ü".encode()[:1]], (), (["x", ""], False)),
        ([b"one E", b"N", b"D two"], ("END",), (["one ", "", ""], True)),
        ([b"one E", b"N", b"x"], ("END",), (["one ", "", "ENx"], False)),
        ([b"aXbY"], ("Y", "X"), (["a"], True)),
        ([b"one E"], ("END",), (["one E"], False)),
    ],
)
def test_characters_are_whole_and_stop_texts_are_never_shown(pieces, stops, expected):
    """
    Also where their bytes are spread over tokens; what is cut off at the end is not shown.
    """
    assert expected == shown(pieces, *stops)


CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
PARSED = {"type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(
    ("text", "opened", "visible", "reasoning", "calls"),
    [
        ("plain <b>", False, "plain <b>", None, ()),
        ("<think>why</think>\n\nyes", False, "yes", "why", ()),
        ("why</think> yes", True, "yes", "why", ()),
        ("<think>never closed", False, "", "never closed", ()),
        ("<thin", False, "<thin", None, ()),
        ("sure " + CALL + "\n" + CALL, False, "sure ", None, (PARSED, PARSED)),
        ("<tool_call>{broken</tool_call>", False, "<tool_call>{broken</tool_call>", None, ()),
        (CALL + " and more", False, CALL + " and more", None, ()),
        ("<tool_call>[1]</tool_call>", False, "<tool_call>[1]</tool_call>", None, ()),
    ],
)
def test_reasoning_and_calls_are_not_text(text, opened, visible, reasoning, calls):
    """
    Whatever is shown on the way is the beginning of what is shown at the end.
    """
    parts = AnswerParts(opened=opened, calls=True)
    steps = [parts.visible(text[:n], ended=False) for n in range(len(text))]

    assert visible == parts.visible(text, ended=True)
    assert (reasoning, calls) == (parts.reasoning, parts.tool_calls)
    assert [] == [s for s in steps if not visible.startswith(s)]
