"""
How answers are marked: right ones right, near ones by the scorer's rule, hostile ones wrong.
"""

from __future__ import annotations

import json
import math
import socket
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.scoring.expected import check_expected
from finetuned.core.scoring.grade import grade, grade_choice
from finetuned.core.scoring.json_values import same_json
from finetuned.core.scoring.scorer import CHOICE, SCORERS, Scorer, parse_scorer
from finetuned.core.scoring.texts import last_number, normalise, token_f1

COMMAND = {"action": "dns_add", "ttl": 300, "tags": ["a", "b"], "force": False}
SCHEMA = {
    "type": "object",
    "required": ["action"],
    "properties": {"action": {"enum": ["dns_add", "dns_remove"]}},
}
DEEP = "[" * 10_000 + "]" * 10_000
MEGABYTE = "A 1,234.5 {" * 100_000
HOSTILE = {
    "empty": "",
    "blank": " \n\t",
    "deep": DEEP,
    "deep object": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "500 levels": "[" * 500 + "]" * 500,
    "900 levels": "[" * 900 + "]" * 900,
    "unclosed": "{" * 100_000,
    "NaN": "NaN",
    "infinite": '{"action": -Infinity}',
    "beyond floats": '{"action": 1e999}',
    "long integer": '{"action": ' + "9" * 5_000 + "}",
    "key twice": '{"action": "dns_add", "action": "dns_remove"}',
    "half a pair": '{"\\ud800": 1}',
    "half a pair as a value": '["\\ud800"]',
    "megabyte": MEGABYTE,
    "digits": "9" * 1_000_000,
    "NUL": "\0" * 1000,
    "surrogate": "\ud800 1",
    "fences": "```json\n" * 1000,
    "encoded often": json.dumps(json.dumps(json.dumps(COMMAND))),
}
PLAIN = {
    "exact": "ok",
    "normalised": "ok",
    "json": json.dumps(COMMAND),
    "numeric": "42",
    "contains": "needle",
    "regex": "^ok$",
    "f1": "a fine answer",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def right(scorer, answer, expected, **options):
    checked = parse_scorer({"name": scorer, **options})
    check_expected(checked, expected)
    return grade(checked, answer, expected).correct


# -- every scorer ---------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_is_wrong_and_never_stops_the_evaluation(name, kind):
    """
    Whatever a model writes: no exception, not right, and a detail that a report can hold.
    """
    began = time.monotonic()
    found = grade(Scorer(name), HOSTILE[kind], PLAIN[name])

    assert not found.correct
    assert 0 <= found.score <= 1
    assert orjson.dumps(found.detail)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_passes_no_schema(kind):
    """
    The same, judged by a schema, with and without something to compare.
    """
    for expected in (COMMAND, "judged by its schema"):
        found = grade(Scorer("json", {"schema": SCHEMA}), HOSTILE[kind], expected)

        assert not found.correct
        assert orjson.dumps(found.detail)


@pytest.mark.parametrize("name", PLAIN)
@given(answer=st.text())
def test_any_text_can_be_marked(name, answer):
    """
    A score from 0 to 1, 1 where it is right, the same again.
    """
    found = grade(Scorer(name), answer, PLAIN[name])

    assert 0 <= found.score <= 1
    assert not found.correct or found.score > 0
    assert found == grade(Scorer(name), answer, PLAIN[name])


@pytest.mark.parametrize("name", ["exact", "normalised", "f1", "contains"])
@given(text=st.text(min_size=1).map(str.strip).filter(bool))
def test_the_expected_text_is_right(name, text):
    """
    An item can be passed.
    """
    assert right(name, text, text)


@pytest.mark.parametrize(
    ("name", "answer", "expected", "options", "verdict"),
    [
        ("exact", "ok", " ok\n", {}, True),
        ("exact", "OK", "ok", {}, False),
        ("exact", "ok.", "ok", {}, False),
        ("normalised", "  The Answer: 42!", "the answer 42", {}, True),
        ("normalised", "-5 degrees", "5 degrees", {}, False),
        ("normalised", "1.5", "15", {}, False),
        ("normalised", "Straße", "STRASSE", {}, True),
        ("normalised", "ﬁne", "fine", {}, True),
        ("numeric", "The result is #### 1,234.", "1234", {}, True),
        ("numeric", "#### 1,234.", 1234, {}, True),
        ("numeric", "3 apples and 4 pears make 7", "7", {}, True),
        ("numeric", "7 apples, of 8", "7", {}, False),
        ("numeric", "-5", "5", {}, False),
        ("numeric", "\N{MINUS SIGN}5", "5", {}, False),
        ("numeric", "\N{MINUS SIGN}5", "-5", {}, True),
        ("numeric", "1e3", 1000, {}, True),
        ("numeric", "0.3333", "0.33333", {"tolerance": 1e-3}, True),
        ("numeric", "0.33", "0.33333", {"tolerance": 1e-3}, False),
        ("numeric", "none", "7", {}, False),
        ("contains", "Use RESTART, then stop", ["restart", "stop"], {}, True),
        ("contains", "restart", ["restart", "stop"], {}, False),
        ("contains", "restart", ["restart", "stop"], {"any": True}, True),
        ("contains", "nothing", ["restart", "stop"], {"any": True}, False),
        ("contains", "RESTART", "restart", {"ignore_case": False}, False),
        ("regex", "port 8080 open", r"\b80\d\d\b", {}, True),
        ("regex", "OK", "^ok$", {}, False),
        ("regex", "OK", "^ok$", {"ignore_case": True}, True),
        ("f1", "the quick brown fox", "quick brown fox", {}, True),
        ("f1", "a fox", "quick brown fox", {}, False),
        ("f1", "a fox", "quick brown fox", {"at_least": 0.3}, True),
    ],
)
def test_each_scorer_by_its_own_rule(name, answer, expected, options, verdict):
    """
    What is near enough is the item's choice, not the model's.
    """
    assert verdict is right(name, answer, expected, **options)


# -- numbers and words ---------------------------------------------------------


@given(st.integers(-(10**12), 10**12))
def test_an_integer_is_found_however_it_is_written(n):
    """
    Plain, with thousands, at the end of a sentence, after other numbers.
    """
    for text in (f"{n}", f"{n:,}", f"#### {n:,}.", f"12 + 3 is ({n}).", f"so **{n:,}**"):
        assert last_number(text) == n


def test_what_is_no_number_is_none():
    """
    No digit, or more than a float holds.
    """
    assert [None] * 4 == [last_number(t) for t in ("", "NaN", "inf", "9" * 400)]


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    """
    Words, single spaces, nothing around them.
    """
    once = normalise(text)

    assert "  " not in once
    assert once == once.strip()
    assert token_f1(text, text) == 1.0


@given(st.text(), st.text())
def test_f1_is_a_share_and_the_same_both_ways(one, other):
    """
    0 to 1, symmetric.
    """
    assert 0 <= token_f1(one, other) <= 1
    assert token_f1(one, other) == pytest.approx(token_f1(other, one))


def test_f1_counts_words_as_often_as_they_come():
    """
    Saying the right word often is no better answer.
    """
    assert token_f1("fox fox fox fox", "fox") == pytest.approx(0.4)


# -- JSON ---------------------------------------------------------


@given(json_values)
def test_json_is_compared_as_json(value):
    """
    Spacing, order of keys, escapes, a fence and double encoding do not count.
    """
    text = json.dumps(value)
    written = [
        text,
        f"```json\n{json.dumps(value, indent=2)}\n```",
        f"```\n{text}\n```\n",
        json.dumps(value, sort_keys=True, ensure_ascii=False),
    ]
    if isinstance(value, dict | list):
        written.append(json.dumps(text))
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return  # such a text is taken for what it holds
    for answer in written:
        assert grade(Scorer("json"), answer, text).correct


@given(json_values, json_values)
def test_equality_of_json_is_symmetric_and_knows_true_from_one(one, other):
    """
    1 is 1.0 and not true; order counts in arrays only.
    """
    assert same_json(one, one)
    assert same_json(one, other) == same_json(other, one)
    assert not same_json({"a": [one, True]}, {"a": [one, 1]})
    assert same_json({"a": one, "b": 1}, {"b": 1.0, "a": one})


@pytest.mark.parametrize(
    ("change", "fields_right", "fields", "wrong"),
    [
        ({}, 4, 4, []),
        ({"ttl": 300.0}, 4, 4, []),
        ({"ttl": "300"}, 3, 4, ["ttl"]),
        ({"force": 0}, 3, 4, ["force"]),
        ({"tags": ["b", "a"]}, 3, 4, ["tags"]),
        ({"extra": 1}, 4, 5, ["extra"]),
    ],
)
def test_partly_right_json_says_which_fields_are_wrong(change, fields_right, fields, wrong):
    """
    Fields that differ, are missing or are too many; right only where none is.
    """
    found = grade(Scorer("json"), json.dumps(COMMAND | change), COMMAND)

    assert (not wrong) is found.correct
    assert fields_right / fields == found.score
    assert {"fields": fields, "fields_right": fields_right, "wrong": wrong}.items() <= (
        found.detail.items()
    )


def test_a_missing_field_is_wrong():
    """
    Less than was asked for is not right.
    """
    found = grade(Scorer("json"), '{"action": "dns_add"}', COMMAND)

    assert not found.correct
    assert found.score == 0.25


@pytest.mark.parametrize(
    ("answer", "expected", "verdict", "schema_valid"),
    [
        ('{"action": "dns_add"}', {"action": "dns_add"}, True, True),
        ('{"action": "dns_add"}', "anything", True, True),
        ('{"action": "reboot"}', "anything", False, False),
        ('{"action": "reboot"}', {"action": "reboot"}, False, False),
        ('{"action": "dns_remove"}', {"action": "dns_add"}, False, True),
        ("[]", "anything", False, False),
    ],
)
def test_a_schema_is_asked_beside_the_expected_value(answer, expected, verdict, schema_valid):
    """
    Both must hold; without JSON to compare, the schema alone.
    """
    found = grade(parse_scorer({"name": "json", "schema": SCHEMA}), answer, expected)

    assert verdict is found.correct
    assert schema_valid is found.detail["schema_valid"]
    assert ("complaint" in found.detail) is not schema_valid


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"$ref": "#/$defs/no"}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "no.json"}],
    ids=str,
)
def test_a_schema_that_cannot_be_applied_passes_nothing(schema):
    """
    References that lead nowhere or in circles; nothing is fetched from a network.
    """
    found = grade(parse_scorer({"name": "json", "schema": schema}), "{}", "{}")

    assert not found.correct
    assert "schema refers" in found.detail["complaint"]


def test_a_schema_is_never_fetched():
    """
    A suite of another person's cannot make an evaluation call home.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        scorer = parse_scorer({"name": "json", "schema": {"$ref": url}})
        server.setblocking(False)
        asked = threading.Thread(target=grade, args=(scorer, "{}", "{}"), daemon=True)
        asked.start()
        asked.join(5)

        assert not asked.is_alive()
        with pytest.raises(BlockingIOError):
            server.accept()


# -- choices ---------------------------------------------------------


def test_the_likeliest_choice_is_the_answer():
    """
    By the sum, or per token where lengths are given.
    """
    sums = [-3.0, -2.0, -4.0]

    assert grade_choice(sums, [1, 1, 1], 1).correct
    assert not grade_choice(sums, [1, 1, 1], 2).correct
    assert grade_choice(sums, [1, 1, 4], 2).correct


def test_a_tie_is_no_preference():
    """
    A model that finds two choices equally likely has not chosen.
    """
    assert not grade_choice([-1.0, -1.0, -2.0], [1, 1, 1], 0).correct
    assert not grade_choice([-1.0, -1.0, -2.0], [1, 1, 1], 1).correct


@given(st.lists(st.floats(), min_size=2, max_size=5), st.data())
def test_at_most_one_choice_is_right(sums, data):
    """
    Whatever the numbers, NaN among them: then none is.
    """
    answers = [grade_choice(sums, [1] * len(sums), i).correct for i in range(len(sums))]

    assert sum(answers) <= 1
    assert not (any(map(math.isnan, sums)) and any(answers))


# -- what an item may say ---------------------------------------------------------


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_is_a_name_or_an_object_with_a_name(name):
    """
    Both say the same; nothing is exact.
    """
    assert Scorer(name) == parse_scorer(name) == parse_scorer({"name": name})
    assert Scorer("exact") == parse_scorer(None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("best", "there are: exact"),
        ("", "there are: exact"),
        (7, "a name or an object"),
        ({}, "a name or an object"),
        ({"name": "exact", "tolerance": 1}, "it has: none"),
        ({"name": "numeric", "tolerence": 1}, "it has: tolerance"),
        ({"name": "numeric", "tolerance": "1"}, "cannot be '1'"),
        ({"name": "numeric", "tolerance": True}, "cannot be True"),
        ({"name": "numeric", "tolerance": -1}, "cannot be -1"),
        ({"name": "f1", "at_least": 1.5}, "cannot be 1.5"),
        ({"name": "contains", "any": 1}, "cannot be 1"),
        ({"name": "json", "schema": {"type": "objekt"}}, "not a JSON Schema"),
    ],
)
def test_a_scorer_that_there_is_not_is_refused_with_those_there_are(value, message):
    """
    A typing error in a suite is found when it is read, not when it is asked.
    """
    with pytest.raises(ValueError, match=message):
        parse_scorer(value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exact", 7),
        ("exact", None),
        ("numeric", "seven"),
        ("numeric", True),
        ("numeric", None),
        ("json", "{"),
        ("json", None),
        ("json", DEEP),
        ("json", HOSTILE["500 levels"]),
        ("json", HOSTILE["half a pair"]),
        ("contains", []),
        ("contains", ["a", 1]),
        ("regex", "("),
        (CHOICE, True),
    ],
)
def test_what_nobody_could_pass_is_a_mistake(name, expected):
    """
    An item whose expected answer can never be met is refused.
    """
    with pytest.raises(ValueError, match=r"scorer|regular expression"):
        check_expected(Scorer(name), expected)


def test_a_pattern_that_never_ends_is_stopped():
    """
    A suite's own pattern must not hold an evaluation for ever.
    """
    found = grade(parse_scorer("regex"), "a" * 60 + "b", r"^(a|aa|a?a)+$")

    assert not found.correct
    assert "no match within" in found.detail["complaint"]
