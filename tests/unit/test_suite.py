"""
Adding a suite is adding a file: what may be in it, and what is said where it cannot be read.
"""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.scoring.grade import grade
from finetuned.core.scoring.scorer import Scorer
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data import suite as module
from finetuned.data.suite import (
    load_suite,
    suite_files,
    suite_prompts,
)
from finetuned.errors import SuiteError

CHECKOUT = Path(__file__).parents[2]
ITEM = '{"prompt": "2 + 2?", "completion": "4"}'


def write(folder, *lines, name="mine.jsonl", end="\n"):
    path = folder / name
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return path


def one(folder, **item):
    return load_suite(write(folder, json.dumps(item))).questions[0]


@pytest.mark.parametrize("path", suite_files(CHECKOUT / "benchmarks"), ids=lambda p: p.stem)
def test_every_suite_of_the_checkout_is_read_and_can_be_passed(path):
    """
    Each expected answer is marked right by the item's own scorer.
    """
    suite = load_suite(path)

    assert (
        SuiteOrigin.CANARY if path.stem == "canaries" else SuiteOrigin.BENCHMARK
    ) == suite.origin
    for question in suite.questions:
        assert question.prompt
        if not question.choices:
            assert grade(question.scorer, question.golden.strip(), question.expected).correct


@pytest.mark.parametrize(
    "item",
    [
        {"messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]},
        {"prompt": "a?", "completion": "b"},
        {"instruction": "a?", "output": "b"},
        {"input": "a?", "output": "b"},
        {"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]},
    ],
    ids=lambda item: next(iter(item)),
)
def test_a_file_that_a_user_adds_is_a_suite(tmp_path, item):
    """
    Any training format; the name is the file's, the answer the row's, to be met exactly.
    """
    path = write(tmp_path, json.dumps(item))
    suite = load_suite(path)

    assert [path] == suite_files(tmp_path)
    assert ("mine", "mine.jsonl", SuiteOrigin.BENCHMARK) == (suite.name, suite.title, suite.origin)
    assert sha256(path.read_bytes()).hexdigest() == suite.sha256
    (question,) = suite.questions
    assert ("1", "a?", "b", "b") == (
        *(question.id, question.prompt, question.golden, question.expected),
    )
    assert Scorer("exact") == question.scorer
    assert question.scored
    assert 1 == len(list(suite_prompts(path)))


def test_the_file_of_canaries_is_told_by_its_name(tmp_path):
    """
    canaries.jsonl holds what must never break.
    """
    assert SuiteOrigin.CANARY == load_suite(write(tmp_path, ITEM, name="canaries.jsonl")).origin


def test_files_that_are_no_suites_are_left_alone(tmp_path):
    """
    Hidden files, folders and other endings; an absent folder has no suites.
    """
    for name in (".hidden.jsonl", "notes.md", "b.jsonl", "a.jsonl"):
        write(tmp_path, ITEM, name=name)
    (tmp_path / "folder.jsonl").mkdir()

    assert ["a.jsonl", "b.jsonl"] == [p.name for p in suite_files(tmp_path)]
    assert [] == suite_files(tmp_path / "absent")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(blanks=st.lists(st.booleans(), min_size=1, max_size=8))
def test_lines_are_counted_with_blank_ones_and_either_line_end(tmp_path_factory, end, blanks):
    """
    An item without an id is named after its line, whatever the line end.
    """
    lines = [" " if blank else ITEM for blank in blanks]
    folder = tmp_path_factory.mktemp("suite")
    wanted = [str(n) for n, blank in enumerate(blanks, 1) if not blank]
    if not wanted:
        with pytest.raises(SuiteError, match="no item"):
            load_suite(write(folder, *lines, end=end))
        return
    suite = load_suite(write(folder, *lines, end=end))

    assert wanted == [q.id for q in suite.questions]
    assert {"4"} == {q.golden for q in suite.questions}


def test_a_last_line_without_an_end_is_an_item(tmp_path):
    """
    As many editors leave it.
    """
    path = tmp_path / "mine.jsonl"
    path.write_text(f"{ITEM}\n{ITEM}")

    assert 2 == len(load_suite(path).questions)


# -- what is compared ---------------------------------------------------------


def test_an_item_may_have_no_answer_of_its_own(tmp_path):
    """
    With "expected" alone it is asked and marked; there is no answer whose loss means anything.
    """
    for item in (
        {"prompt": "a?", "expected": "b"},
        {"messages": [{"role": "user", "content": "a?"}], "expected": "b"},
    ):
        question = one(tmp_path, **item)

        assert ("a?", "b", "b") == (question.prompt, question.golden, question.expected)
        assert not question.scored
        assert "assistant" == question.example.messages[-1]["role"]


def test_expected_goes_before_the_answer_of_the_row(tmp_path):
    """
    The answer is still what the loss is about.
    """
    question = one(
        tmp_path, prompt="a?", completion="It is 7.", scorer="numeric", expected=7, id="seven"
    )

    assert ("seven", 7, "It is 7.", True) == (
        *(question.id, question.expected, question.golden, question.scored),
    )


def test_an_object_may_be_expected(tmp_path):
    """
    JSON need not be written as text.
    """
    question = one(tmp_path, prompt="a?", scorer="json", expected={"a": 1})

    assert grade(question.scorer, '{"a": 1.0}', question.expected).correct


def test_the_system_prompt_is_part_of_the_question(tmp_path):
    """
    Asked as it was trained.
    """
    turns = [("system", "Be brief."), ("user", "a?"), ("assistant", "b")]
    question = one(tmp_path, messages=[{"role": r, "content": c} for r, c in turns])

    assert ("Be brief.", "a?") == (question.system, question.prompt)


def test_a_text_is_only_scored(tmp_path):
    """
    Language modelling rows have no answer; what asks one of them is a mistake.
    """
    question = one(tmp_path, text="To be or not to be.")
    assert (None, True) == (question.golden, question.scored)

    for key in ({"expected": "x"}, {"scorer": "f1"}):
        with pytest.raises(SuiteError, match="only scored"):
            one(tmp_path, text="To be or not to be.", **key)


@pytest.mark.parametrize("expected", ["b", 1])
def test_a_choice_is_named_by_its_text_or_its_number(tmp_path, expected):
    """
    The right one is what the loss is about.
    """
    question = one(
        tmp_path, prompt="a?", scorer="choice", choices=["a", "b", "c"], expected=expected
    )

    assert (1, ("a", "b", "c"), "b", True) == (
        *(question.expected, question.choices, question.golden, question.scored),
    )


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"choices": ["a"], "expected": 0}, "two or more different"),
        ({"choices": ["a", "a"], "expected": 0}, "two or more different"),
        ({"choices": ["a", ""], "expected": 0}, "two or more different"),
        ({"choices": ["a", 1], "expected": 0}, "two or more different"),
        ({"choices": "ab", "expected": 0}, "two or more different"),
        ({"expected": 0}, "two or more different"),
        ({"choices": ["a", "b"]}, "must be one of the choices"),
        ({"choices": ["a", "b"], "expected": 2}, "must be one of the choices"),
        ({"choices": ["a", "b"], "expected": -1}, "must be one of the choices"),
        ({"choices": ["a", "b"], "expected": True}, "must be one of the choices"),
        ({"choices": ["a", "b"], "expected": "c"}, "must be one of the choices"),
    ],
    ids=str,
)
def test_choices_that_cannot_be_chosen_from_are_refused(tmp_path, item, message):
    """
    Fewer than two, alike, empty, or without the right one.
    """
    with pytest.raises(SuiteError, match=message):
        one(tmp_path, prompt="a?", scorer="choice", **item)


# -- what cannot be read ---------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not_json"),
        ("[]", "must be a JSON object"),
        ("7", "must be a JSON object"),
        ('{"prompt": "a?"}', "no known format"),
        ('{"instruction": "a?", "expected": "b"}', "no known format"),
        ('{"prompt": "a?", "completion": "b", "prompt": "c?"}', "twice"),
        ('{"prompt": "a?", "completion": NaN}', "NaN"),
        ('{"prompt": "a?", "completion": "\\ud800"}', "surrogate"),
        ('{"prompt": "a?", "completion": "b", "id": 7}', "id must be a text"),
        ('{"prompt": "a?", "completion": "b", "id": ""}', "id must be a text"),
        ('{"prompt": "a?", "completion": "b", "id": "1"}', "given before"),
        ('{"prompt": "a?", "completion": "b", "scorer": "best"}', "there are: exact"),
        ('{"prompt": "a?", "completion": "b", "scorer": "numeric"}', "needs a number"),
        ('{"prompt": "a?", "completion": "b", "scorer": "json"}', "needs JSON"),
        ('{"prompt": "a?", "scorer": "json", "expected": null}', "cannot compare"),
        ('{"prompt": "a?", "completion": "b", "choices": ["a", "b"]}', "choices are for"),
        ('{"prompt": "a?", "completion": ""}', "empty"),
        ("[" * 10_000 + "]" * 10_000, "too_deep"),
    ],
    ids=lambda text: text[:60],
)
def test_a_line_that_is_no_item_is_named(tmp_path, line, message):
    """
    File, line and reason; the whole suite is refused, since fewer items prove less.
    """
    path = write(tmp_path, ITEM, "", line, ITEM)

    with pytest.raises(SuiteError, match=message) as caught:
        load_suite(path)
    assert str(caught.value).startswith("mine.jsonl:3: ")
    assert (path, 3) == (caught.value.path, caught.value.line)


@pytest.mark.parametrize("data", [b"\xff\xfe{\0}\0", b"\xef\xbb\xbf" + ITEM.encode(), b"\xff"])
def test_what_is_no_utf8_is_named_too(tmp_path, data):
    """
    As Windows editors write it.
    """
    path = tmp_path / "mine.jsonl"
    path.write_bytes(data)

    with pytest.raises(SuiteError, match=r"mine\.jsonl:1: not_utf8"):
        load_suite(path)


def test_a_file_that_cannot_be_read_is_no_suite(tmp_path, monkeypatch):
    """
    Absent, a folder, empty, or far too long.
    """
    (tmp_path / "folder.jsonl").mkdir()
    for path in (tmp_path / "absent.jsonl", tmp_path / "folder.jsonl"):
        with pytest.raises(SuiteError, match="cannot be read"):
            load_suite(path)
    with pytest.raises(SuiteError, match="no item"):
        load_suite(write(tmp_path))
    monkeypatch.setattr(module, "MAX_SUITE_BYTES", 10)
    with pytest.raises(SuiteError, match="longer than"):
        load_suite(write(tmp_path, ITEM))


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_suite_or_a_suite_error(tmp_path_factory, data):
    """
    Nothing that lies in benchmarks/ ends an evaluation in another way.
    """
    path = tmp_path_factory.mktemp("suite") / "mine.jsonl"
    path.write_bytes(data)
    with suppress(SuiteError):
        assert load_suite(path).questions
