"""
JSON values against a JSON Schema: the answers of jsonschema, but never without end.
"""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from finetuned.core import json_schema
from finetuned.core.json_schema import check_schema, schema_complaint
from finetuned.core.scoring.grade import grade
from finetuned.core.scoring.scorer import parse_scorer

ENDLESS = "^(a|aa)+$"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
LONG = "a" * 64 + "!"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
SCHEMAS = [
    {"pattern": "^a+$"},
    {"type": "object", "patternProperties": {"^a": {"type": "integer"}, "b$": True}},
    {"patternProperties": {"^a": {}}, "additionalProperties": False},
    {"properties": {"c": {}}, "patternProperties": {"^b": {}}, "additionalProperties": False},
    {"patternProperties": {"a": {}}, "additionalProperties": {"type": "string"}},
    {"properties": {"a": {}}, "additionalProperties": False},
    {"items": {"pattern": "b"}, "propertyNames": {"pattern": "^[ab]*$"}},
    {"$schema": DRAFT, "items": {"$ref": "#"}, "pattern": "c"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@given(value=VALUES)
def test_a_value_fits_a_schema_if_jsonschema_says_so(schema, value):
    """
    The limit changes no answer where patterns are matched in time.
    """
    check_schema(schema)

    fits = Draft202012Validator(schema).is_valid(value)

    assert fits is (schema_complaint(value, schema) is None)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": ENDLESS}, LONG),
        ({"patternProperties": {ENDLESS: {}}}, {LONG: 1}),
        ({"patternProperties": {ENDLESS: {}}, "additionalProperties": False}, {LONG: 1}),
        ({"propertyNames": {"pattern": ENDLESS}}, {LONG: 1}),
        ({"$schema": DRAFT, "items": {"$ref": "#"}, "pattern": ENDLESS}, [LONG]),
        ({"items": {"$schema": DRAFT, "pattern": ENDLESS}}, [LONG]),
        ({"items": {"pattern": ENDLESS}}, [LONG, LONG, LONG, LONG]),
    ],
    ids=["pattern", "names", "other names", "all names", "itself", "own draft", "many"],
)
def test_a_pattern_that_never_ends_is_stopped(monkeypatch, schema, value):
    """
    Wherever a pattern stands, and however many values it is matched with: one limit for all.
    """
    monkeypatch.setattr(json_schema, "MATCH_SECONDS", 0.1)
    check_schema(schema)
    began = time.process_time()

    complaint = schema_complaint(value, schema)

    assert "the schema could not be checked within 0.1 s" in complaint
    assert time.process_time() - began < 1


def test_a_schema_whose_parts_refer_to_each_other_twice_and_twice_again_is_stopped(monkeypatch):
    """
    Forty small definitions are 2 ** 40 checks of one value.
    """
    monkeypatch.setattr(json_schema, "MATCH_SECONDS", 0.2)
    parts = {"a0": {"type": "string"}}
    for n in range(1, 41):
        parts[f"a{n}"] = {"allOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2}
    schema = {"$defs": parts, "$ref": "#/$defs/a40"}
    check_schema(schema)

    assert "could not be checked within 0.2 s" in schema_complaint("x", schema)


def test_an_answer_whose_pattern_never_ends_is_wrong(monkeypatch):
    """
    The scorer says why, and the answer is still valid JSON.
    """
    monkeypatch.setattr(json_schema, "MATCH_SECONDS", 0.1)
    scorer = parse_scorer({"name": "json", "schema": {"pattern": ENDLESS}})

    found = grade(scorer, f'"{LONG}"', "judged by its schema")

    assert not found.correct
    assert found.detail["valid"]
    assert not found.detail["schema_valid"]
    assert "0.1 s" in found.detail["complaint"]


def test_a_schema_whose_patterns_cannot_be_limited_is_refused():
    """
    jsonschema matches patternProperties by itself where it looks for unevaluated ones.
    """
    schema = {"allOf": [{"patternProperties": {"a": {}}}], "unevaluatedProperties": False}

    with pytest.raises(ValueError, match="use additionalProperties"):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"pattern": "("}, {"patternProperties": {"(": {}}}], ids=str
)
def test_what_is_not_a_schema_is_refused(schema):
    """
    Before any answer is marked by it.
    """
    with pytest.raises(ValueError, match="not a JSON Schema"):
        check_schema(schema)


def test_the_endless_pattern_is_a_pattern():
    """
    It matches at once where it can.
    """
    assert re.search(ENDLESS, "aaa")
