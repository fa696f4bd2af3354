"""
The copy check: values of an answer that its schema says are copied are looked for in the prompt.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from finetuned.core.copied import check_copied
from finetuned.core.copy_marks import check_marks, has_marks, unknown_extensions, without_marks

TEXT: dict[str, Any] = {"type": "string", "x-copied": True}
HOST: dict[str, Any] = {"type": "string", "x-copied": "host"}
ADDRESS: dict[str, Any] = {"type": "string", "x-copied": "address"}


def invented(value: object, mark: dict[str, Any], prompt: str) -> list[str]:
    """
    Return what is found of one value below the key "v".
    """
    schema = {"type": "object", "properties": {"v": mark}}
    found = check_copied(json.dumps({"v": value}), schema, prompt)
    assert found is not None
    assert 1 == found.n_values
    return [one.value for one in found.invented]


@pytest.mark.parametrize(
    ("value", "mark", "prompt"),
    [
        ("family", TEXT, "Create a share called 'family' at /srv/shares/family."),
        ("olga.sara", TEXT, "Nobody should log in as olga.sara. Thanks!"),
        ("My  Files", TEXT, "share it as My\nFiles"),
        ("/srv/a", TEXT, 'serve "/srv/a", please'),
        ("Nas.Home.LAN", HOST, "point nas.home.lan to 10.0.0.5"),
        ("nas.home.lan.", HOST, "Is NAS.home.lan. there?"),
        ("*.example.org", HOST, "gateway.de is also known as *.example.org"),
        ("10.0.0.5", ADDRESS, "to 10.0.0.5/24."),
        ("fd00:0:0::4D2", ADDRESS, "points to fd00::4d2, please"),
        ("::1", ADDRESS, "(::1)"),
        (17, {"type": "integer", "x-copied": True}, "buy 17 of them"),
        (1200.5, {"type": "number", "x-copied": True}, "1,200.50 euros"),
        ("10.0.0.5", ADDRESS, "forward it to 10.0.0.5:8080"),
    ],
)
def test_a_value_of_the_prompt_is_copied(value, mark, prompt):
    """
    However it is quoted, spelled (hosts, addresses, numbers) or followed by a full stop.
    """
    assert [] == invented(value, mark, prompt)


@pytest.mark.parametrize(
    ("value", "mark", "prompt"),
    [
        ("nas.home.arpa", HOST, "point nas.home.lan to 10.0.0.5"),
        ("nas.home", HOST, "point nas.home.lan to 10.0.0.5"),
        ("home.lan", HOST, "point nas.home.lan to 10.0.0.5"),
        ("web", HOST, "point web-01 to 10.0.0.5"),
        ("detjaick", TEXT, "Let's have a share, detjaickme"),
        ("loga.sara", TEXT, "log in as olga.sara"),
        ("JDOE", TEXT, "add jdoe"),
        ("/media/gohexgreck", TEXT, "Hook /media/gohex up as gickchexgreck"),
        ("/srv", TEXT, "serve /srv/data"),
        ("10.0.0.50", ADDRESS, "to 10.0.0.5"),
        ("fd00::4d2", ADDRESS, "points to fd00::4d3"),
        ("no address", ADDRESS, "to 10.0.0.5"),
        ("10.0.0.5", ADDRESS, "to 10.0.0.50:80"),
        (17, {"type": "integer", "x-copied": True}, "buy 170 of them"),
    ],
)
def test_a_value_that_is_not_there_is_invented(value, mark, prompt):
    """
    A part of a name is another name; so is one in capitals, but for hosts.
    """
    assert [str(value)] == invented(value, mark, prompt)


def test_only_marked_values_are_looked_for_and_each_has_its_place():
    """
    Through lists, alternatives and references; what has no mark may be anything.
    """
    step = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"do": {"const": "a"}, "zone": {"$ref": "#/$defs/host"}},
                "required": ["do", "zone"],
            },
            {
                "type": "object",
                "properties": {"do": {"const": "b"}, "zone": {"type": "string"}},
                "required": ["do", "zone"],
            },
        ]
    }
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["x"]}, "steps": {"type": "array", "items": step}},
        "additionalProperties": TEXT,
        "$defs": {"host": HOST},
    }
    check_marks(schema)
    answer = {
        "kind": "x",
        "steps": [
            {"do": "a", "zone": "one"},
            {"do": "b", "zone": "free"},
            {"do": "a", "zone": "two"},
        ],
        "more": "three",
    }
    found = check_copied(json.dumps(answer), schema, "only two")

    assert found is not None
    assert not found.copied
    assert 3 == found.n_values
    assert [("$.steps[0].zone", "one"), ("$.more", "three")] == [
        (one.path, one.value) for one in found.invented
    ]


@pytest.mark.parametrize("answer", ["no JSON", '{"v": 3}', '{"v": "a", "v": "b"}'])
def test_of_an_answer_that_does_not_fit_nothing_is_said(answer):
    """
    Which of its values are copied is not known.
    """
    schema = {"type": "object", "properties": {"v": TEXT}}

    assert None is check_copied(answer, schema, "a b")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string", "x-copied": "text"}, '#: x-copied must be true, "host" or "address"'),
        ({"properties": {"a": {"type": "string", "x-copied": 1}}}, "#/properties/a"),
        ({"properties": {"a": {"type": "string", "x-copied": False}}}, "#/properties/a"),
        ({"type": "object", "x-copied": True}, "needs a type beside it"),
        ({"x-copied": True}, "needs a type beside it"),
        ({"type": "number", "x-copied": "host"}, "needs a type beside it: string"),
        ({"not": {"type": "string", "x-copied": True}}, "#/not: x-copied is not looked at"),
        ({"if": {"properties": {"a": TEXT}}}, "#/if/properties/a: x-copied is not looked at"),
    ],
)
def test_a_mark_that_would_mean_nothing_is_refused(schema, reason):
    """
    With its place, so that nobody relies on a check that is not made.
    """
    with pytest.raises(ValueError, match="x-copied") as refused:
        check_marks(schema)
    assert reason in str(refused.value)


def test_a_property_may_have_the_name_of_the_keyword():
    """
    Only keywords are marks; a schema without one is the same without them.
    """
    schema = {"type": "object", "properties": {"x-copied": {"type": "object"}, "x-y": {}}}
    check_marks(schema)

    assert not has_marks(schema)
    assert schema == without_marks(schema)
    assert [] == unknown_extensions(schema)
    assert ["#/items/x-copyed"] == unknown_extensions({"items": {"x-copyed": True}})
    assert {"anyOf": [{"type": "string"}]} == without_marks({"anyOf": [HOST]})


NAMES = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+){0,3}", fullmatch=True)
AROUND = st.sampled_from(["", " ", "'", '"', "(", ", ", "\n", "\t", ": ", "share "])
AFTER = st.sampled_from(["", " ", "'", '"', ")", ", please", ".", "?", "!", ".\n", "'s group"])


@given(NAMES, AROUND, AFTER, st.text(max_size=20), st.text(max_size=20))
def test_whatever_stands_around_it_a_word_of_the_prompt_is_found(name, before, after, one, other):
    """
    On a line of its own lines before and after it make no difference.
    """
    prompt = f"{one}\n{before}{name}{after}\n{other}"

    assert [] == invented(name, TEXT, prompt)
    assert [] == invented(name.upper() + ".", HOST, prompt)


@given(NAMES, st.sampled_from("abz09"))
def test_a_name_with_one_more_letter_is_another(name, letter):
    """
    At its end or at its beginning, in both directions.
    """
    for longer in (name + letter, letter + name):
        assume(not {name, longer} & {"add", "now"})
        assert [longer] == invented(longer, TEXT, f"add {name} now")
        assert [name] == invented(name, HOST, f"add {longer} now")


@given(st.ip_addresses())
def test_an_address_is_the_same_in_every_spelling(address):
    """
    Written out, shortened, in capitals; the one after it is another.
    """
    spelled = address.exploded.upper()

    assert [] == invented(str(address), ADDRESS, f"to {spelled}, please.")
    other = ipaddress.ip_address(int(address) ^ 1) if address.version == 6 else address
    if other != address:
        assert [str(other)] == invented(str(other), ADDRESS, f"to {spelled}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.text())
def test_any_value_and_any_prompt_give_an_answer(value, prompt):
    """
    Nothing is raised, and what is listed was looked for.
    """
    schema = {"items": TEXT, "additionalProperties": {"anyOf": [HOST, {"type": "number"}, True]}}
    found = check_copied(json.dumps(value), schema, prompt)

    if found is not None:
        assert len(found.invented) <= found.n_values
