"""
Which rows become examples, and which are refused with what reason.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from finetuned.data.examples import from_record, prompt_hash, to_record
from finetuned.data.reader import FORMATS, to_example
from finetuned.errors import MalformedExample

QUESTION = {"role": "user", "content": "What is 2+2?"}
ANSWER = {"role": "assistant", "content": "It is 4."}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 2}}}
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": {}}}

SAME_QUESTION: list[dict[str, Any]] = [
    {"messages": [QUESTION, ANSWER]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is 2+2?"}]}, ANSWER]},
    {"conversations": [
        {"from": "human", "value": " What is  2+2?\n"},
        {"from": "gpt", "value": "It is 4."},
    ]},
    {"prompt": "What is 2+2?", "completion": "It is 4."},
    {"prompt": [QUESTION], "completion": [ANSWER]},
    {"instruction": "What is 2+2?", "input": "", "output": "It is 4."},
    {"instruction": "What is 2+2?", "output": "It is 4.", "history": []},
    {"input": "What is 2+2?", "output": "It is 4.", "confidence": 1.0, "verified": True},
]  # fmt: skip


def _refusal(row: object) -> MalformedExample:
    with pytest.raises(MalformedExample) as caught:
        to_example(row)
    return caught.value


@pytest.mark.parametrize("row", SAME_QUESTION)
def test_one_question_is_one_prompt_in_every_format(row: dict[str, Any]) -> None:
    """
    Held-out prompts stay held out however another file spells them.
    """
    expected = to_example(SAME_QUESTION[0])
    example = to_example(row)

    assert prompt_hash(expected) == prompt_hash(example)
    assert "It is 4." == example.messages[-1]["content"]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "system", "content": "Be brief."}, QUESTION, ANSWER]},
        {"messages": [QUESTION, ANSWER, QUESTION, ANSWER]},
        {"messages": [QUESTION, ANSWER], "tools": [TOOL]},
        {"prompt": "What is 2+3?", "completion": "It is 4."},
        {"text": "What is 2+2?"},
    ],
)
def test_another_prompt_has_another_hash(row: dict[str, Any]) -> None:
    """
    System prompt, history and tools belong to the prompt.
    """
    assert prompt_hash(to_example(SAME_QUESTION[0])) != prompt_hash(to_example(row))


def test_the_hash_is_the_same_in_every_process() -> None:
    """
    It is stored, so its value is part of the format.
    """
    assert 7911602041056502464 == prompt_hash(to_example(SAME_QUESTION[0]))


def test_the_prompt_leaves_the_answer_out() -> None:
    """
    Another last answer is the same prompt; another earlier one is not.
    """
    other = {**ANSWER, "content": "Something else."}

    def hashed(*messages: dict[str, str]) -> int:
        return prompt_hash(to_example({"messages": list(messages)}))

    same = hashed(QUESTION, ANSWER, QUESTION, ANSWER)
    assert same == hashed(QUESTION, ANSWER, QUESTION, other)
    assert same != hashed(QUESTION, other, QUESTION, ANSWER)


def test_sharegpt_calls_and_observations_become_tool_messages() -> None:
    """
    ``function_call`` is an assistant turn with a call, ``observation`` the tool's answer.
    """
    example = to_example(
        {
            "conversations": [
                {"from": "human", "value": "What is 2+2?"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a":2,"b":2}}'},
                {"from": "observation", "value": "4"},
                {"from": "gpt", "value": "It is 4."},
            ],
            "tools": json.dumps([TOOL["function"]]),
            "system": "Be brief.",
        }
    )

    assert ["system", "user", "assistant", "tool", "assistant"] == [
        m["role"] for m in example.messages
    ]
    assert [CALL] == example.messages[2]["tool_calls"]
    assert [TOOL] == example.tools


def test_openai_calls_are_read_with_their_arguments_as_text() -> None:
    """
    Arguments arrive as a JSON string and leave as an object; the content may be null.
    """
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
    example = to_example(
        {"messages": [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}]}
    )

    message = example.messages[-1]
    assert "" == message["content"]
    assert {"name": "add", "arguments": {"a": 2}} == message["tool_calls"][0]["function"]


def test_alpaca_input_and_history_become_part_of_the_conversation() -> None:
    """
    The input is the instruction's second paragraph, each history pair an earlier turn.
    """
    example = to_example(
        {"instruction": "Add.", "input": "2 2", "output": "4", "history": [["Hi", "Hello"]]}
    )

    assert ["Hi", "Hello", "Add.\n2 2", "4"] == [m["content"] for m in example.messages]


def test_messages_after_the_last_answer_are_left_out() -> None:
    """
    A trailing question teaches nothing.
    """
    assert [QUESTION, ANSWER] == to_example({"messages": [QUESTION, ANSWER, QUESTION]}).messages


def test_metadata_and_other_scalars_are_kept() -> None:
    """
    What a row says about itself is not lost; the row's own metadata wins.
    """
    row = {**SAME_QUESTION[7], "metadata": {"level": 5, "verified": False}}

    assert {"confidence": 1.0, "verified": False, "level": 5} == to_example(row).metadata


def test_an_intent_is_stored_in_its_canonical_spelling_without_password() -> None:
    """
    Seed rows of any spelling train the same answer, and no secret.
    """
    example = to_example(
        {
            "input": "Create user john with password abc123",
            "output": {"action": "add_user", "username": "john", "password": "abc123"},
        }
    )

    assert "abc123" not in json.dumps(to_record(example))
    assert "user_add" == json.loads(example.messages[-1]["content"])["action"]


@pytest.mark.parametrize("key", ["prompt", "messages"])
def test_a_password_is_removed_in_other_formats_too(key: str) -> None:
    """
    It does not matter how the row spells question and answer.
    """
    answer = '{"action":"add_user","username":"john","password":"abc123"}'
    question = "Create user john with password abc123"
    row: dict[str, Any] = {"prompt": question, "completion": answer}
    if key == "messages":
        row = {"messages": [{"role": "user", "content": question}, {**ANSWER, "content": answer}]}

    assert "abc123" not in json.dumps(to_record(to_example(row)))


def test_an_object_that_is_no_intent_is_the_answer_as_json() -> None:
    """
    Any other structured output is trained as compact JSON, keys in their order.
    """
    example = to_example({"input": "2+2", "output": {"sum": 4, "ok": [True]}})

    assert '{"sum":4,"ok":[true]}' == example.messages[-1]["content"]


@pytest.mark.parametrize("row", [*SAME_QUESTION, {"text": "One.", "metadata": {"a": [1]}}])
def test_a_record_gives_the_example_back(row: dict[str, Any]) -> None:
    """
    What is written to heldout.jsonl is what evaluation asks.
    """
    example = to_example(row)

    assert example == from_record(json.loads(json.dumps(to_record(example))))


@pytest.mark.parametrize(
    ("row", "code", "says"),
    [
        ([], "not_an_object", "a list"),
        ("x", "not_an_object", "a string"),
        ({}, "unknown_format", "keys are none"),
        ({"questions": "a", "answer": "b"}, "unknown_format", "'answer', 'questions'"),
        ({"messages": {}}, "bad_content", "messages must be a list, got an object"),
        ({"messages": []}, "no_assistant", ""),
        ({"messages": [QUESTION]}, "no_assistant", ""),
        ({"messages": [ANSWER]}, "no_prompt", ""),
        ({"messages": ["hi"]}, "bad_content", "messages[0] must be an object"),
        ({"messages": [QUESTION, {**ANSWER, "content": 0}]}, "bad_content",
         "messages[1].content must be a string, got an integer '0'"),
        ({"messages": [QUESTION, {**ANSWER, "content": 4.5}]}, "bad_content", "a number '4.5'"),
        ({"messages": [QUESTION, {**ANSWER, "content": True}]}, "bad_content", "a boolean 'True'"),
        ({"messages": [QUESTION, {**ANSWER, "content": None}]}, "bad_content", "null"),
        ({"messages": [QUESTION, {**ANSWER, "content": {"a": 1}}]}, "bad_content", "an object"),
        ({"messages": [QUESTION, {**ANSWER, "content": " \n"}]}, "empty_content", "messages[1]"),
        ({"messages": [{**QUESTION, "content": [{"type": "image_url"}]}, ANSWER]}, "bad_content",
         "messages[0].content[0] must be a text part, got image_url"),
        ({"messages": [{**QUESTION, "role": "bot"}, ANSWER]}, "bad_role", "messages[0].role"),
        ({"messages": [{**QUESTION, "role": ["user"]}, ANSWER]}, "bad_role", "messages[0].role"),
        ({"messages": [QUESTION, {**ANSWER, "weight": 0}]}, "not_to_train", "every assistant turn"),
        ({"messages": [QUESTION, {**ANSWER, "tool_calls": [{"function": {}}]}]}, "bad_tool_call",
         "messages[1].tool_calls[0]"),
        ({"messages": [{**QUESTION, "tool_calls": [CALL]}, ANSWER]}, "bad_tool_call", "only"),
        ({"messages": [QUESTION, ANSWER], "tools": "[{"}, "bad_tools", "tools is not JSON"),
        ({"messages": [QUESTION, ANSWER], "tools": [1]}, "bad_tools", "tools[0]"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "bad_role", "conversations[0].from"),
        ({"conversations": [{"from": "human", "value": "x"},
                            {"from": "function_call", "value": "add(2, 2)"}]}, "bad_tool_call",
         "conversations[1].value is not JSON"),
        ({"prompt": 5, "completion": "x"}, "bad_content", "prompt must be a string"),
        ({"prompt": "x", "completion": ""}, "empty_content", "completion is empty"),
        ({"prompt": [QUESTION], "completion": [QUESTION]}, "no_assistant", "completion"),
        ({"instruction": "x", "output": 1}, "bad_content", "output must be a string"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "bad_content", "history[0]"),
        ({"input": "x", "output": {"action": "add_user"}}, "bad_intent", "username"),
        ({"text": ["a"]}, "bad_content", "text must be a string"),
        ({"text": " "}, "empty_content", "text is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_with_its_place(
    row: object, code: str, says: str
) -> None:
    """
    The author of a row finds the fault without reading our source.
    """
    error = _refusal(row)

    assert code == error.code
    assert says in error.reason


def test_an_unknown_row_is_told_which_formats_there_are() -> None:
    """
    One message names them all.
    """
    reason = _refusal({"a": 1}).reason

    assert [] == [f.title for f in FORMATS if f.title not in reason]


def test_an_object_that_holds_a_whole_dataset_says_how_to_take_it_out() -> None:
    """
    Exports often wrap their rows: {"version": 1, "data": [...]}.
    """
    error = _refusal({"version": 1, "my data": [{"prompt": "a", "completion": "b"}]})

    assert "jq -c --arg k 'my data' '.[$k][]' FILE > NEW.jsonl" in error.hint
    assert "" == _refusal({"version": 1, "data": ["a"]}).hint
