"""
Every key of a row is used, kept, refused with what to do, or counted: none is dropped unseen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetuned.data.formats.keys import KEPT, MARKS, KeyUse, Refused
from finetuned.data.formats.turns import TURN_KEYS
from finetuned.data.reader import FORMATS, ReadRow, UnknownKeys, read_line
from finetuned.errors import MalformedExample

REPORTED = Path(__file__).parents[3] / "shared" / "data" / "reported"
ASKED = {"role": "user", "content": "Which tower?"}
SAID = {"role": "assistant", "content": "The left one."}
ROWS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [ASKED, SAID]},
    "conversations": {
        "conversations": [
            {"from": "human", "value": "Which tower?"},
            {"from": "gpt", "value": "The left one."},
        ]
    },
    "prompt": {"prompt": "Which tower?", "completion": "The left one."},
    "alpaca": {"instruction": "Which tower?", "output": "The left one."},
    "input": {"input": "Which tower?", "output": "The left one."},
    "text": {"text": "The left tower."},
}
CONVERSATIONS = [name for name in ROWS if name != "text"]


def read(row: object, **options: Any) -> ReadRow | MalformedExample:
    return read_line(json.dumps(row).encode(), **options)


def accepted(row: object) -> ReadRow:
    found = read(row)
    assert isinstance(found, ReadRow), found
    return found


def refused(row: object, **options: Any) -> MalformedExample:
    found = read(row, **options)
    assert isinstance(found, MalformedExample), found
    return found


def test_every_format_has_a_row_here() -> None:
    """
    So that the laws below hold for a format that is added.
    """
    assert [found.name for found in FORMATS] == list(ROWS)


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
def test_each_key_is_done_with_as_it_is_declared(found: Any) -> None:
    """
    Kept keys are metadata, refused ones are named with their value and what to do.
    """
    for key, use in found.keys.items():
        said = "none" if key == "answer_format" else "said"  # the one that is looked at
        row = {**ROWS[found.name], key: said}
        if use is KeyUse.KEPT:
            assert said == accepted(row).example.metadata[key]
            assert () == accepted(row).unused
        elif isinstance(use, Refused):
            error = refused(row)
            assert use.code == error.code
            assert f'{key} = "said"' in error.reason
            assert use.remedy == error.hint


@pytest.mark.parametrize("found", FORMATS, ids=lambda found: found.name)
@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_a_refused_key_without_a_value_says_nothing(found: Any, empty: object) -> None:
    """
    Exports of tables fill the columns that a row lacks with null.
    """
    for key, use in found.keys.items():
        if isinstance(use, Refused):
            accepted({**ROWS[found.name], key: empty})


@pytest.mark.parametrize("key", [k for k, use in TURN_KEYS.items() if isinstance(use, Refused)])
def test_a_key_of_a_turn_that_changes_its_meaning_is_refused_with_its_place(key: str) -> None:
    """
    In both spellings of turns.
    """
    for name, turn in (("messages", SAID), ("conversations", {"from": "gpt", "value": "x"})):
        row = {name: [ASKED, {**turn, key: "said"}]}
        assert f'{name}[1].{key} = "said"' in refused(row).reason


@pytest.mark.parametrize("name", ROWS)
def test_an_unknown_key_is_kept_and_counted(name: str) -> None:
    """
    A context that is not trained is seen in the counts; a column of nulls is not.
    """
    found = accepted({**ROWS[name], "context": {"room": 3}, "nothing": None})

    assert ("context",) == found.unused
    assert {"room": 3} == found.example.metadata["context"]


def test_an_unknown_key_of_a_turn_is_counted_with_its_list() -> None:
    """
    Once for a row, however many turns have it.
    """
    found = accepted({"messages": [{**ASKED, "mood": 1}, {**SAID, "mood": 2}], "aside": True})

    assert ("aside", "messages[].mood") == found.unused


def test_a_row_with_an_unknown_key_is_refused_if_asked() -> None:
    """
    ``data.unknown_keys = "refuse"``; a known key is still accepted.
    """
    error = refused({**ROWS["prompt"], "context": "x"}, unknown_keys=UnknownKeys.REFUSE)

    assert "unknown_key" == error.code
    assert "'context'" in error.reason
    assert "data.unknown_keys" in error.hint
    assert isinstance(read({**ROWS["prompt"], "id": 7}, unknown_keys=UnknownKeys.REFUSE), ReadRow)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("label", [False, True, 0, 1, "bad", [1, 0]])
@pytest.mark.parametrize("key", ["label", "kto_tag"])
def test_a_labelled_row_is_never_trained(name: str, label: object, key: str) -> None:
    """
    Whatever else it looks like: a row whose answer is bad is not a row to learn.
    """
    assert "preference_row" == refused({**ROWS[name], key: label}).code


@pytest.mark.parametrize("name", ROWS)
def test_a_judgement_refuses_the_bad_rows_only(name: str) -> None:
    """
    An export of judged answers is trained without those that were judged bad.
    """
    for key, good, bad in (("is_correct", True, False), ("user_feedback", "thumbs_up", "down")):
        assert "preference_row" == refused({**ROWS[name], key: bad}).code
        accepted({**ROWS[name], key: good})


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("key", MARKS)
def test_a_row_marked_not_to_train_is_left_out(name: str, key: str) -> None:
    """
    And the same row marked the other way is trained.
    """
    inverted = key in ("masked", "never_train", "is_eval")
    for no, yes in ((inverted, not inverted), (int(inverted), int(not inverted))):
        assert "not_to_train" == refused({**ROWS[name], key: no}).code
        accepted({**ROWS[name], key: yes})
    accepted({**ROWS[name], key: None})


@pytest.mark.parametrize("key", MARKS)
def test_a_turn_marked_not_to_train_carries_no_loss(key: str) -> None:
    """
    Turns after the last answer that carries loss are left out.
    """
    no = key in ("masked", "never_train", "is_eval")
    silent = {**SAID, key: no}

    assert (1,) == accepted({"messages": [ASKED, silent, ASKED, SAID]}).example.untrained
    cut = accepted({"messages": [ASKED, SAID, ASKED, silent]}).example
    assert [ASKED, SAID] == cut.messages
    assert () == cut.untrained
    assert "not_to_train" == refused({"messages": [ASKED, silent]}).code


def test_a_mark_that_cannot_be_honoured_is_refused() -> None:
    """
    Half a weight, and a turn of the user that is to be learned.
    """
    half = refused({"messages": [ASKED, {**SAID, "weight": 0.5}]})
    user = refused({"messages": [{**ASKED, "train": True}, SAID]})

    assert "messages[1].weight = 0.5 is neither 0 nor 1" in half.reason
    assert "messages[0].train = true asks for a turn to be trained" in user.reason
    accepted({"messages": [{**ASKED, "weight": 1}, {**SAID, "weight": 1}]})


def test_answers_in_a_prompt_are_context() -> None:
    """
    The completion is what is learned.
    """
    found = accepted({"prompt": [ASKED, SAID, ASKED], "completion": [SAID]})

    assert (1,) == found.example.untrained


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("key", ["system", "system_prompt", "system_message"])
def test_a_system_prompt_beside_the_turns_becomes_the_system_turn(name: str, key: str) -> None:
    """
    In every format; an empty one is left out.
    """
    roles = [m["role"] for m in accepted({**ROWS[name], key: "Be brief."}).example.messages]

    assert ["system", "user", "assistant"] == roles
    assert 2 == len(accepted({**ROWS[name], key: " "}).example.messages)


def test_two_system_prompts_must_agree() -> None:
    """
    Nobody can say which of two was meant.
    """
    turns = [{"role": "system", "content": "Be brief."}, ASKED, SAID]

    assert 3 == len(accepted({"messages": turns, "system": "Be brief."}).example.messages)
    assert "different system prompts" in refused({"messages": turns, "system": "Be long."}).reason


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_legacy_functions_are_tools(name: str) -> None:
    """
    As OpenAI named them before; both at once must agree.
    """
    function = {"name": "lift", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]

    assert tools == accepted({**ROWS[name], "functions": [function]}).example.tools
    assert tools == accepted({**ROWS[name], "functions": [function], "tools": tools}).example.tools
    other = [{**function, "name": "drop"}]
    assert "bad_tools" == refused({**ROWS[name], "functions": other, "tools": tools}).code


@pytest.mark.parametrize("arguments", ["", " ", None, {}, "{}"])
def test_no_arguments_are_an_empty_object(arguments: object) -> None:
    """
    In ``tool_calls`` and in the legacy ``function_call``.
    """
    call = {"name": "lift", "arguments": arguments}
    for given in ({"tool_calls": [{"function": call}]}, {"function_call": call}):
        row = {"messages": [ASKED, {"role": "assistant", "content": None, **given}]}
        found = accepted(row).example.messages[-1]["tool_calls"]
        assert [{"type": "function", "function": {"name": "lift", "arguments": {}}}] == found


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_belongs_to_its_answer(key: str) -> None:
    """
    In a turn, or beside the one answer of a row; beside many turns nobody knows whose it is.
    """
    turn = accepted({"messages": [ASKED, {**SAID, key: "It leans."}]}).example.messages[-1]
    assert "It leans." == turn["reasoning_content"]
    for name in ("prompt", "alpaca", "input"):
        last = accepted({**ROWS[name], key: "It leans."}).example.messages[-1]
        assert "It leans." == last["reasoning_content"]
    for name in ("messages", "conversations", "text"):
        assert "unsupported_key" == refused({**ROWS[name], key: "It leans."}).code
    assert "only the assistant" in refused({"messages": [{**ASKED, key: "Hm."}, SAID]}).reason


@pytest.mark.parametrize("key", ["output", "summary", "answer", "completion", "target"])
def test_an_answer_beside_text_is_not_lost(key: str) -> None:
    """
    A text is learned whole, so the answer beside it would not be.
    """
    assert "answer_beside_text" == refused({"text": "A long story.", key: "Short."}).code


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": None, "value": "Hi"}, "There is a text at 'value': rename the key to 'text'"),
        ({"query": "a", "response": "b"}, "Rename query to prompt and response to completion"),
        ({"chosen": "a", "rejected": "b"}, "the good answer alone"),
        ({"prompt": "a", "completions": ["b"], "labels": [True]}, "one row for each good answer"),
        ({"input_ids": [1], "labels": [1]}, "Drop the text"),
        ({"messages": [{"role": "user", "text": "Hi"}, SAID]}, "a text at 'text': rename"),
    ],
)
def test_a_row_of_another_tool_is_told_what_to_do(row: object, says: str) -> None:
    """
    Its shape is known, though it is not read.
    """
    assert says in refused(row).hint


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference_row"),
        ({"prompt": "a", "completions": ["b"], "labels": [True]}, "preference_row"),
        ({"input_ids": [1], "labels": [1]}, "tokenized_row"),
        ({"query": "a", "response": "b"}, "unknown_format"),
    ],
)
def test_a_row_of_another_tool_has_the_code_of_its_kind(row: object, code: str) -> None:
    """
    The same as if the key stood beside those of a format that is read.
    """
    assert code == refused(row).code


@pytest.mark.parametrize("name", ["prompt", "input", "alpaca"])
@pytest.mark.parametrize(
    "mark", ["<|im_start|>user\n", "<s>[INST] ", "<|start_header_id|>user<|end_header_id|>"]
)
def test_a_prompt_that_is_rendered_already_is_refused(name: str, mark: str) -> None:
    """
    The base's template would put its marks around those of another one.
    """
    key = next(iter(ROWS[name]))

    assert "template_markup" == refused({**ROWS[name], key: f"{mark}Which tower?"}).code
    accepted({**ROWS[name], key: "What does [INST] mean?"})
    turn = {"role": "user", "content": f"{mark}Which tower?"}
    assert "template_markup" == refused({"messages": [turn, SAID]}).code


def test_empty_parts_are_left_out() -> None:
    """
    An empty system turn, an empty instruction beside an input; metadata that is a text is kept.
    """
    system = {"role": "system", "content": ""}
    assert [ASKED, SAID] == accepted({"messages": [system, ASKED, SAID]}).example.messages
    alpaca = accepted({"instruction": "", "input": "Which tower?", "output": "Left."})
    assert "Which tower?" == alpaca.example.messages[0]["content"]
    kept = accepted({**ROWS["prompt"], "metadata": "page 3"}).example.metadata
    assert {"metadata": "page 3"} == kept


def test_a_key_with_a_null_does_not_decide_the_format() -> None:
    """
    A table of mixed rows has every column in every row.
    """
    row = {"messages": None, "prompt": None, "completion": None, "text": "The left tower."}

    assert "text" == accepted(row).example.format


def test_a_password_is_hidden_in_what_is_kept_too() -> None:
    """
    Reasoning and metadata are written to files like the prompt.
    """
    intent = {"action": "add_user", "username": "tim", "password": "kestrel9"}
    row = {
        "input": "Add user tim with password kestrel9",
        "output": intent,
        "reasoning": "The password is kestrel9.",
        "parsed_intent": intent,
        "note": "kestrel9 was chosen by tim",
    }
    prompt = {"prompt": row["input"], "completion": json.dumps(intent), "parsed_intent": intent}

    for given in (row, prompt):
        found = accepted(given).example
        assert "kestrel9" not in json.dumps([found.messages, found.metadata])


def test_kept_keys_are_none_that_a_format_refuses_for_all() -> None:
    """
    A key is in one set only, so that the order of the sets does not decide.
    """
    for found in FORMATS:
        refusals = {key for key, use in found.keys.items() if isinstance(use, Refused)}
        assert set() == KEPT & refusals


def reported(name: str) -> list[ReadRow | MalformedExample]:
    """
    Return what is read of a file of reported inputs; skip the test if they are not here.
    """
    if not REPORTED.is_dir():
        pytest.skip("shared/data/reported is not here")
    return [read_line(line) for line in (REPORTED / name).read_bytes().splitlines()]


def codes(found: list[ReadRow | MalformedExample]) -> list[str]:
    return [row.code if isinstance(row, MalformedExample) else "" for row in found]


def test_reported_labels_are_refused() -> None:
    """
    Bad answers are never learned.
    """
    assert {"preference_row"} == set(codes(reported("01_preference_labels.jsonl")))


def test_reported_marks_are_honoured() -> None:
    """
    The wrong turn carries no loss, and the wrong row is left out.
    """
    *turns, row = reported("02_turns_not_to_train.jsonl")

    assert ["not_to_train"] == codes([row])
    for found in turns:
        assert isinstance(found, ReadRow)
        assert ("5", "No, 4.") == tuple(found.example.messages[i]["content"] for i in (1, 3))
        assert (1,) == found.example.untrained


def test_reported_system_prompts_and_functions_are_in_the_prompt() -> None:
    """
    Beside the turns, in every format.
    """
    for found in reported("03_system_beside_messages.jsonl"):
        assert isinstance(found, ReadRow)
        assert {"role": "system", "content": "Answer in French."} == found.example.messages[0]
    (found,) = reported("04_functions_legacy.jsonl")
    assert isinstance(found, ReadRow)
    assert "lamp" == (found.example.tools or [{}])[0]["function"]["name"]


def test_reported_columns_are_counted_or_refused() -> None:
    """
    A context is seen in the counts; an answer beside a text and an image are not lost.
    """
    context, again, *others = reported("07_columns_that_change_meaning.jsonl")

    for found in (context, again):
        assert isinstance(found, ReadRow)
        assert ("context",) == found.unused
    assert ["answer_beside_text", "answer_beside_text", "media_row"] == codes(others)


def test_reported_empty_parts_are_accepted() -> None:
    """
    None of them is a fault of its row.
    """
    assert {""} == set(codes(reported("15_empty_parts.jsonl")))
