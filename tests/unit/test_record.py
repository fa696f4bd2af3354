"""
What one process writes for another is read back whole, or refused by name.
"""

import json
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config import Config
from finetuned.core.record import from_json, to_json
from finetuned.errors import ConfigError, RecordError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    name: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    count: int
    share: float
    open: bool
    colour: Colour
    parts: tuple[Part, ...]
    pair: tuple[int, str] = (1, "a")
    more: dict[str, Any] | None = None
    limit: float | None = None


text = st.text(max_size=8)
paths = text.map(lambda t: Path("/x") / t.replace("/", "_").replace("\0", ""))
wholes = st.builds(
    Whole,
    count=st.integers(-(2**53), 2**53),
    share=st.floats(allow_nan=False, allow_infinity=False),
    open=st.booleans(),
    colour=st.sampled_from(Colour),
    parts=st.lists(st.builds(Part, name=text, path=paths), max_size=3).map(tuple),
    pair=st.tuples(st.integers(0, 9), text),
    more=st.none() | st.dictionaries(text, st.integers() | text, max_size=2),
    limit=st.none() | st.floats(0, 1),
)
WHOLE = Whole(
    count=1, share=0.5, open=True, colour=Colour.RED, parts=(Part(name="a", path=Path("/a")),)
)


@dataclass(frozen=True, kw_only=True)
class Holder:
    config: Config


def through_json(value):
    return json.loads(json.dumps(to_json(value)))


@given(wholes)
def test_what_is_written_is_read_back(whole):
    """
    Every type that a field may have survives the file.
    """
    assert whole == from_json(Whole, through_json(whole), source="a.json")


@given(st.sampled_from([f.name for f in fields(Whole)]), st.text("xyz", min_size=1, max_size=3))
def test_an_unknown_or_missing_key_names_the_file_and_the_key(name, added):
    """
    Nothing is dropped without a word; only fields with a default may be left out.
    """
    body = through_json(WHOLE)
    with pytest.raises(RecordError, match=rf"spec\.json: unknown key {added}"):
        from_json(Whole, {**body, added: 1}, source=Path("spec.json"))
    del body[name]
    if name in ("pair", "more", "limit"):
        assert WHOLE == from_json(Whole, body, source="spec.json")
    else:
        with pytest.raises(RecordError, match=f"missing key {name}"):
            from_json(Whole, body, source="spec.json")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("count", "1", "count: expected int, found '1'"),
        ("count", True, "count: expected int, found True"),
        ("count", 1.0, "count: expected int, found 1.0"),
        ("open", 1, "open: expected bool, found 1"),
        ("share", "0.5", "share: expected float"),
        ("colour", "green", "colour: expected one of red, blue, found 'green'"),
        ("parts", {}, "parts: expected a list"),
        ("parts", [1], "parts[0]: expected an object, found 1"),
        ("parts", [{"name": "a"}], "parts[0]: missing key path"),
        ("parts", [{"name": "a", "path": 3}], "parts[0].path: expected a path, found 3"),
        ("pair", [1], "pair: expected 2 items"),
        ("more", 3, "more: expected an object"),
        ("limit", "none", "limit: expected float"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(name, value, says):
    """
    Nothing is converted on a guess, and the message leads to the value.
    """
    with pytest.raises(RecordError) as caught:
        from_json(Whole, {**through_json(WHOLE), name: value}, source="spec.json")

    assert f"spec.json: {says}" in str(caught.value)


def test_a_whole_number_is_a_fraction_too():
    """
    JSON does not tell 2.0 from 2.
    """
    body = {**through_json(WHOLE), "share": 2, "limit": 1}

    assert replace(WHOLE, share=2.0, limit=1.0) == from_json(Whole, body, source="a")


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_what_is_no_object_is_no_record(value):
    """
    An empty or foreign file is not a record with defaults.
    """
    with pytest.raises(RecordError, match="expected an object"):
        from_json(Whole, value, source="a.json")


def test_a_configuration_in_a_record_checks_itself():
    """
    Ranges hold there too, and keys that are retired are still read.
    """
    holder = Holder(config=Config())
    body = through_json(holder)
    old = {"config": {**body["config"], "gate": {"max_new_accuracy_drop": 0.1}}}

    assert holder == from_json(Holder, body, source="a.json")
    assert holder == from_json(Holder, old, source="a.json")
    with pytest.raises(ConfigError, match=r"a\.json: config: .*max_length"):
        from_json(Holder, {"config": {"data": {"max_length": 5}}}, source="a.json")


def test_what_cannot_be_written_is_a_bug_at_once():
    """
    A set has no order and no JSON.
    """
    with pytest.raises(TypeError):
        to_json({1, 2})
