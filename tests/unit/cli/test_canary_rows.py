"""
One canary from what a person typed, or from a record of a production log.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from finetuned.cli.canary_rows import answered, own_row, production_row, suite_rows
from finetuned.data.suite import load_suite
from finetuned.errors import RegistryError, SuiteError

RECORD = {"id": "q7", "prompt": "capital of Peru?", "answer": "Quito", "correct_answer": "Lima"}


def typed(**given: Any) -> dict[str, Any]:
    fields = {"id": "c1", "prompt": "p?", "system": None, "expected": "yes", "scorer": None}
    return own_row(argparse.Namespace(**{**fields, **given}))


def logged(folder: Path, *records: object, **given: Any) -> dict[str, Any]:
    """
    Return the item made of a log with *records*, one a line; text is written as it is.
    """
    log = folder / "production.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    log.write_text("".join(f"{line}\n" for line in lines))
    fields = {"id": None, "line": None, "expected": None, "scorer": None, "as_is": False}
    return production_row(argparse.Namespace(from_production=log, **{**fields, **given}))


def without(*keys: str, **changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**RECORD, **changes}.items() if k not in keys}


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in row["messages"]]


def test_what_is_typed_becomes_a_conversation_with_its_answer() -> None:
    """
    A system prompt comes first if there is one.
    """
    asked = [("user", "p?"), ("assistant", "yes")]

    assert asked == turns(typed())
    assert [("system", "be brief"), *asked] == turns(typed(system="be brief"))


@pytest.mark.parametrize(
    ("expected", "scorer", "chosen"),
    [
        ("yes", None, "exact"),
        ("12", None, "exact"),
        ('{"a": 1}', None, "json"),
        ("[1]", None, "json"),
        ('{"a": 1}', "exact", "exact"),
        ("yes", '{"name": "exact"}', {"name": "exact"}),
    ],
)
def test_the_scorer_fits_the_answer_unless_it_is_given(
    expected: str, scorer: str | None, chosen: object
) -> None:
    """
    An object or a list is compared as JSON; a number is text like any other.
    """
    assert chosen == typed(expected=expected, scorer=scorer)["scorer"]


@pytest.mark.parametrize(
    ("scorer", "expected", "kept"),
    [("contains", '["a", "b"]', ["a", "b"]), ("contains", "a", "a"), ("regex", "^a+$", "^a+$")],
)
def test_what_is_searched_for_is_no_answer(scorer: str, expected: str, kept: object) -> None:
    """
    It stands beside the question: a model must not be shown it as the right answer.
    """
    row = typed(scorer=scorer, expected=expected)

    assert kept == row["expected"]
    assert [("user", "p?")] == turns(row)


def test_a_choice_cannot_be_typed() -> None:
    """
    Its list of choices has no option; the message says what to do instead.
    """
    with pytest.raises(RegistryError, match="by hand"):
        typed(scorer="choice")


def test_a_password_never_reaches_the_list() -> None:
    """
    Neither one that is typed nor one that only the wrong answer in the log gives away.
    """
    intent = {"action": "user_add", "username": "zed", "password": "hunter22"}
    prompt = "create user zed with password hunter22"
    row = typed(prompt=prompt, expected=json.dumps(intent))

    assert "hunter22" not in json.dumps(row)
    assert "secret://zed" in row["messages"][0]["content"]


def test_a_password_that_only_the_wrong_answer_names_is_hidden(tmp_path: Path) -> None:
    """
    The correction may hold the reference already.
    """
    right = {"action": "user_add", "username": "zed", "password_ref": "secret://zed"}
    wrong = {"action": "user_add", "username": "zed", "password": "hunter22"}
    prompt = "create user zed with password hunter22"
    record = {"prompt": prompt, "answer": json.dumps(wrong), "correct_intent": right}

    assert "hunter22" not in json.dumps(logged(tmp_path, record))


def test_a_correction_is_the_expected_answer(tmp_path: Path) -> None:
    """
    With the record's id and where it came from.
    """
    row = logged(tmp_path, RECORD)

    assert [("user", "capital of Peru?"), ("assistant", "Lima")] == turns(row)
    assert "q7" == row["id"]
    assert {"source": "production", "log": "production.jsonl"} == row["metadata"]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (without("correct_answer"), "nobody has said what is right"),
        (without("correct_answer", "answer"), "neither an answer nor a correction"),
        (without("correct_answer", feedback="thumbs_down"), "answered wrongly"),
        (without("correct_answer", user_feedback="WRONG"), "answered wrongly"),
        (without("prompt"), "no prompt"),
        (without(prompt="  "), "no prompt"),
        (without("prompt", messages=[{"role": "system", "content": "s"}]), "question"),
    ],
)
def test_a_record_that_nobody_vouches_for_is_refused(
    tmp_path: Path, record: dict[str, Any], says: str
) -> None:
    """
    The message names the file and the line.
    """
    with pytest.raises(RegistryError, match=says) as caught:
        logged(tmp_path, record)

    assert "production.jsonl:1" in str(caught.value)


def test_as_is_vouches_for_the_answer_that_was_given(tmp_path: Path) -> None:
    """
    But not against a correction or a complaint.
    """
    row = logged(tmp_path, without("correct_answer"), as_is=True)
    assert ("assistant", "Quito") == turns(row)[-1]

    with pytest.raises(RegistryError, match="not right as it is"):
        logged(tmp_path, without("correct_answer"), as_is=True, expected="Lima")
    with pytest.raises(RegistryError, match="answered wrongly"):
        logged(tmp_path, without("correct_answer", feedback="bad"), as_is=True)


def test_what_is_typed_goes_before_the_record(tmp_path: Path) -> None:
    """
    The person who adds the canary has the last word on the right answer.
    """
    assert ("assistant", "Cusco") == turns(logged(tmp_path, RECORD, expected="Cusco"))[-1]


def test_a_record_is_found_by_line_or_by_id(tmp_path: Path) -> None:
    """
    Blank lines count as lines; with an id, a line that cannot be read may not be the one.
    """
    other = without(id="q8", prompt="capital of Chile?")

    assert "q8" == logged(tmp_path, RECORD, "", other, line=3)["id"]
    assert "q8" == logged(tmp_path, "{broken", RECORD, other, id="q8")["id"]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({}, "2 records for it; choose with --line"),
        ({"id": "q9"}, "no record at id 'q9'"),
        ({"line": 9}, "no record at line 9"),
    ],
)
def test_one_record_has_to_be_meant(tmp_path: Path, choice: dict[str, Any], says: str) -> None:
    """
    The first of several is never taken silently.
    """
    with pytest.raises(RegistryError, match=says):
        logged(tmp_path, RECORD, without(id="q8"), **choice)


@pytest.mark.parametrize("line", ["{broken", "[1]", '"text"'])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    """
    With its number in the log.
    """
    with pytest.raises(SuiteError, match=r"production\.jsonl\D+2\b"):
        logged(tmp_path, RECORD, line, line=2)


def test_a_record_without_an_id_gets_one_from_its_question(tmp_path: Path) -> None:
    """
    The same question twice is then the same canary; an answer does not change it.
    """
    one = logged(tmp_path, without("id"))["id"]
    same = logged(tmp_path, without("id", answer="La Paz"))["id"]
    other = logged(tmp_path, without("id", prompt="capital of Chile?"))["id"]

    assert one.startswith("production-")
    assert one == same
    assert one != other


def test_the_question_of_a_conversation_is_its_last_user_turn(tmp_path: Path) -> None:
    """
    The model's answer after it is what was said, not part of the question.
    """
    asked = [{"role": "user", "content": "capital of Peru?"}]
    said = [{"role": "assistant", "content": "Quito"}]
    row = logged(tmp_path, {"messages": asked + said, "correct_answer": "Lima"})

    assert [("user", "capital of Peru?"), ("assistant", "Lima")] == turns(row)


def test_turns_end_with_an_assistant() -> None:
    """
    What ends so already is unchanged.
    """
    asked = [{"role": "user", "content": "q"}]

    assert "assistant" == answered(asked)[-1]["role"]
    assert answered(asked) == answered(answered(asked))


def test_the_rows_of_a_suite_ask_what_the_suite_asks(tmp_path: Path) -> None:
    """
    Whatever format its rows have; without an id, each is named after the file and its line.
    """
    items: list[dict[str, Any]] = [
        {"id": "a", "prompt": "2+2?", "completion": "4", "scorer": "numeric"},
        {"instruction": "Say hello.", "output": "Hello."},
        {"id": "c", "prompt": "Name one.", "scorer": "regex", "expected": "one|two"},
        {"id": "d", "prompt": "b?", "scorer": "choice", "choices": ["a", "b"], "expected": "b"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n\n".join(map(json.dumps, items)))
    rows = suite_rows(path)
    copy = tmp_path / "copy.jsonl"
    copy.write_text("\n".join(map(json.dumps, rows)))

    assert ["a", "mine-3", "c", "d"] == [row["id"] for row in rows]
    for was, now in zip(load_suite(path).questions, load_suite(copy).questions, strict=True):
        assert (was.prompt, was.golden, was.scorer) == (now.prompt, now.golden, now.scorer)
        assert (was.expected, was.choices, was.scored) == (now.expected, now.choices, now.scored)


def test_a_password_in_a_suite_does_not_become_a_canary(tmp_path: Path) -> None:
    """
    Neither in the question nor in the expected answer.
    """
    intent = {"action": "user_add", "username": "bob", "password": "hunter2"}
    row = {"input": "Create bob with password hunter2", "output": intent, "scorer": "json"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row))

    assert "hunter2" not in json.dumps(suite_rows(path))


def test_a_text_is_no_canary(tmp_path: Path) -> None:
    """
    Nothing is asked of it, so that it could never be lost.
    """
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"text": "Once upon a time."}))

    with pytest.raises(SuiteError, match=r"mine\.jsonl:1: a text asks nothing"):
        suite_rows(path)
