"""
The pieces of a row, checked one by one: every error names its place and its code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.formats.draft import Draft
from finetuned.data.formats.tools import parse_tools
from finetuned.data.formats.turns import read_turn, read_turns
from finetuned.data.messages import Message, kind_of, required_text, text_of
from finetuned.errors import MalformedExample

KEYS = ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments", "type"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
CODES = {"bad_content", "empty_content", "bad_role", "bad_tool_call", "bad_tools"}


def parse_message(value: object, where: str) -> Message:
    """
    Return the one turn that is read.
    """
    draft = Draft()
    read_turn(value, where, draft)
    return draft.messages[0] if draft.messages else {"role": "system", "content": ""}


def outcome(parse: Callable[..., Any], *args: object) -> Any:
    """
    Return what *parse* returns, or the refusal that it raises.
    """
    try:
        return parse(*args)
    except MalformedExample as refusal:
        return refusal


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5) | JSON)
def test_any_json_is_a_message_or_refused_with_a_code(value: object) -> None:
    """
    A row of a stranger never ends the reader: it is refused with its place, and on one line.
    """
    found = outcome(parse_message, value, "messages[3]")
    if isinstance(found, MalformedExample):
        assert found.code in CODES
        assert "messages[3]" in found.reason
        assert len(found.reason) < 400
    else:
        assert found["role"] in ("system", "user", "assistant", "tool")
        assert isinstance(found["content"], str)


@settings(max_examples=50)
@given(JSON)
def test_any_json_is_tools_or_refused(value: object) -> None:
    """
    What is accepted has a function with a name, in the nested spelling.
    """
    found = outcome(parse_tools, value)
    if isinstance(found, MalformedExample):
        assert "bad_tools" == found.code
    else:
        assert found is None or all(isinstance(t["function"]["name"], str) for t in found)


@pytest.mark.parametrize("role", ["user", "system", "assistant", "tool"])
def test_a_message_that_was_read_is_read_as_itself(role: str) -> None:
    """
    Stored rows are read again by the same code.
    """
    message = {"role": role, "content": "text"}

    assert message == parse_message(parse_message(message, "m"), "m")


@pytest.mark.parametrize(
    ("given_role", "role"),
    [("developer", "system"), ("function", "tool"), ("user", "user")],
)
def test_older_names_of_roles_are_understood(given_role: str, role: str) -> None:
    """
    As the OpenAI format has them.
    """
    assert role == parse_message({"role": given_role, "content": "x"}, "m")["role"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": 1}, "an object"),
        ([1], "a list"),
        (None, "null"),
        (True, "a boolean 'True'"),
        (7, "an integer '7'"),
        (0.5, "a number '0.5'"),
        ("x" * 100, f"a string '{'x' * 40}'"),
    ],
)
def test_a_value_in_a_message_is_short(value: object, shown: str) -> None:
    """
    Its type, and the value itself only if that is a line.
    """
    assert shown == kind_of(value)


def test_parts_of_text_are_joined_without_anything_between() -> None:
    """
    A space would be a token that nobody wrote.
    """
    parts = ["a", {"type": "text", "text": "b"}, {"text": "c"}]

    assert "abc" == text_of(parts, "content")


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"type": "image_url"}, r"content\[1\] must be a text part, got image_url"),
        ({"type": "text"}, r"content\[1\]\.text must be a string, got null"),
        (7, r"content\[1\] must be a text part, got an integer"),
    ],
)
def test_a_part_that_is_no_text_is_named(part: object, says: str) -> None:
    """
    An image that is left out silently would leave a question about nothing.
    """
    with pytest.raises(MalformedExample, match=says):
        text_of(["a", part], "content")


@pytest.mark.parametrize("text", ["", " \n\t ", [], [" "]])
def test_blank_text_is_empty(text: object) -> None:
    """
    There is nothing to learn from it, or nothing that was asked.
    """
    with pytest.raises(MalformedExample) as caught:
        required_text(text, "prompt")

    assert "empty_content" == caught.value.code


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_tool_call_is_the_same_in_every_spelling(embedded: bool, nested: bool) -> None:
    """
    Flat or nested, arguments as an object or as JSON text.
    """
    arguments: Any = {"city": "Lima"}
    function = {"name": "weather", "arguments": json.dumps(arguments) if embedded else arguments}
    call = {"type": "function", "function": function} if nested else function
    message = parse_message({"role": "assistant", "tool_calls": [call]}, "m")

    expected = {"type": "function", "function": {"name": "weather", "arguments": arguments}}
    assert [expected] == message["tool_calls"]
    assert "" == message["content"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"arguments": {}}, "no function name"),
        ({"name": "f", "arguments": "{"}, r"\[0\]\.arguments is not JSON"),
        ({"name": "f", "arguments": [1]}, "must be an object, got a list"),
        ("f()", "no function name"),
    ],
)
def test_a_call_that_cannot_be_made_is_refused(call: object, says: str) -> None:
    """
    A model would learn to write what no tool can read.
    """
    with pytest.raises(MalformedExample, match=says) as caught:
        parse_message({"role": "assistant", "tool_calls": [call]}, "m")

    assert "bad_tool_call" == caught.value.code


def test_only_the_assistant_calls_tools() -> None:
    """
    A call in a user's message is a row of another meaning.
    """
    with pytest.raises(MalformedExample, match="only the assistant"):
        parse_message({"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}, "m")


def test_a_weight_between_none_and_whole_is_refused() -> None:
    """
    A turn is trained whole or not at all.
    """
    with pytest.raises(MalformedExample, match=r"m\.weight = 0\.5 is neither 0 nor 1"):
        parse_message({"role": "assistant", "content": "x", "weight": 0.5}, "m")


@pytest.mark.parametrize("tools", [None, "", [], "[]"])
def test_no_tools_are_none(tools: object) -> None:
    """
    However a row says that there are none.
    """
    assert parse_tools(tools) is None


def test_the_place_in_a_list_is_counted_from_zero() -> None:
    """
    As a person finds it in the JSON.
    """
    good = {"role": "user", "content": "x"}
    with pytest.raises(MalformedExample, match=r"messages\[1\]\.role must be one of"):
        read_turns([good, {"role": "robot"}], "messages", Draft())
    with pytest.raises(MalformedExample, match="messages must be a list, got an object"):
        read_turns({}, "messages", Draft())
