"""
Laws of the canonical intent schema.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.data.intents import (
    ACTIONS,
    FIRST,
    MISSING,
    REASONS,
    IntentError,
    canonical,
    dumps,
    is_intent,
)
from finetuned.data.redaction import redact

SPELLINGS = [
    (
        {"action": "add", "zone": "api.local", "ip": "10.0.0.5", "type": "A"},
        '{"action":"dns_add","zone":"api.local","record_type":"A","ip":"10.0.0.5"}',
    ),
    (
        {"action": "dns_add", "zone": "api.local", "ip": "10.0.0.5"},
        '{"action":"dns_add","zone":"api.local","record_type":"A","ip":"10.0.0.5"}',
    ),
    (
        {"ip": "FD00:0:0::5", "zone": "Api.Local.", "action": "dns_add", "record_type": "AAAA"},
        '{"action":"dns_add","zone":"api.local","record_type":"AAAA","ip":"fd00::5"}',
    ),
    (
        {"action": "add", "zone": "www.local", "target": "server.local", "type": "CNAME"},
        '{"action":"dns_add","zone":"www.local","record_type":"CNAME","target":"server.local"}',
    ),
    (
        {"action": "remove", "zone": "old.example.com"},
        '{"action":"dns_remove","zone":"old.example.com"}',
    ),
    (
        {
            "category": "provision",
            "action": "create",
            "resource_type": "dns",
            "entities": {"zone": "a.lan", "ip": "10.0.0.1"},
            "confidence": 0.9,
            "raw_query": "add a.lan",
        },
        '{"action":"dns_add","zone":"a.lan","record_type":"A","ip":"10.0.0.1"}',
    ),
    (
        {"category": "identity", "action": "create", "resource_type": "user", "username": "jo"},
        '{"action":"user_add","username":"jo"}',
    ),
    ({"action": "remove_user", "username": "jane"}, '{"action":"user_remove","username":"jane"}'),
    (
        {"action": "add_to_group", "username": "john", "group": "samba"},
        '{"action":"group_add_member","username":"john","group":"samba"}',
    ),
    (
        {"action": "create_share", "name": "family", "path": "/srv/shares/family"},
        '{"action":"share_create","name":"family","path":"/srv/shares/family"}',
    ),
    (
        {"action": "grant_access", "username": "john", "share": "family"},
        '{"action":"share_grant","username":"john","share":"family"}',
    ),
    (
        {"category": "query", "action": "list", "resource_type": "user", "entities": {}},
        '{"action":"none","reason":"question"}',
    ),
    (
        {"action": "clarify", "missing": ["path", "name"]},
        '{"action":"clarify","missing":["name","path"]}',
    ),
    (
        {"action": "add_user", "username": "amy", "group": "staff"},
        '{"action":"batch","steps":[{"action":"user_add","username":"amy"},'
        '{"action":"group_add_member","username":"amy","group":"staff"}]}',
    ),
]


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS)
def test_every_ancestor_spelling_has_one_canonical_line(
    spelling: dict[str, Any], expected: str
) -> None:
    """
    Rows in any older spelling are stored in the same bytes.
    """
    assert is_intent(spelling)
    assert dumps(spelling) == expected


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS)
def test_canonical_is_a_fixed_point(spelling: dict[str, Any], expected: str) -> None:
    """
    Reading back what was written changes nothing, and nothing was modified.
    """
    before = orjson.dumps(spelling)
    assert dumps(orjson.loads(dumps(spelling))) == expected
    assert orjson.dumps(spelling) == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "dns_add", "zone": "a.lan"},
        {"action": "dns_add", "zone": "a.lan", "ip": "10.0.0.256"},
        {"action": "dns_add", "zone": "a.lan", "ip": "10.0.0.1", "target": "b.lan"},
        {"action": "dns_add", "zone": "a.lan", "ip": "fd00::1", "type": "A"},
        {"action": "dns_add", "zone": "a b", "ip": "10.0.0.1"},
        {"action": "dns_remove", "zone": ""},
        {"action": "user_add", "username": 7},
        {"action": "user_add", "username": "jo", "shoe_size": "44"},
        {"action": "user_add", "username": "jo", "password_ref": "hunter2"},
        {"action": "share_create", "name": "x\ny", "path": "/srv/x"},
        {"action": "batch", "steps": []},
        {"action": "batch", "steps": ["dns_remove"]},
        {"action": "clarify", "missing": ["colour"]},
        {"action": "none", "reason": "tired"},
        {"action": "remove", "zone": "a.lan", "entities": {"zone": "b.lan"}},
    ],
)
def test_a_damaged_intent_is_refused_but_still_recognised(wrong: dict[str, Any]) -> None:
    """
    A broken intent is an error and never passes for some other JSON.
    """
    assert is_intent(wrong)
    with pytest.raises(IntentError):
        canonical(wrong)


@pytest.mark.parametrize(
    "other",
    [
        None,
        "dns_add",
        [{"action": "dns_add"}],
        {},
        {"action": "create"},
        {"action": "add", "a": 1, "b": 2},
        {"action": ["dns_add"]},
        {"action": "none"},
        {"action": "delete", "resource_type": "invoice"},
        {"action": "batch", "size": 3},
    ],
)
def test_other_json_is_not_taken_for_an_intent(other: object) -> None:
    """
    Answers of other data sets that happen to have an action are left alone.
    """
    assert not is_intent(other)


# The first two letters make sure that no word of the prompt or key holds the password.
PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16).map(
    "Q7".__add__
)


@given(password=PASSWORDS, code_form=st.booleans(), in_batch=st.booleans())
def test_no_password_survives_redaction(password: str, code_form: bool, in_batch: bool) -> None:
    """
    Neither the prompt nor the intent holds the password; both name the reference.
    """
    user: dict[str, Any] = {"action": "add_user", "username": "zed", "password": password}
    if code_form:
        user = {
            "action": "create",
            "resource_type": "user",
            "entities": {"username": "zed", "password": password},
            "raw_query": f"password {password}",
        }
    intent = {"action": "batch", "steps": [user]} if in_batch else user
    prompt, clean = redact(f"create user zed with password {password} and log in", intent)
    stored = prompt + orjson.dumps(clean).decode()
    assert password not in stored
    assert prompt == "create user zed with password secret://zed and log in"
    assert stored.count("secret://zed") == 2


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("make sam a login, password sam", "make sam a login, password secret://sam"),
        ("password: sam, for user sam", "password: secret://sam, for user sam"),
        ("user sam / sam", "user sam / secret://sam"),
        ("samuel asks: user sam, pw sam", "samuel asks: user sam, pw secret://sam"),
    ],
)
def test_a_password_equal_to_the_name_does_not_take_the_name_along(
    prompt: str, expected: str
) -> None:
    """
    Only the word that the prompt calls a password is replaced.
    """
    intent = {"action": "add_user", "username": "sam", "password": "sam"}
    assert redact(prompt, intent) == (
        expected,
        {"action": "user_add", "username": "sam", "password_ref": "secret://sam"},
    )


def test_a_numeric_password_is_hidden_too() -> None:
    """
    JSON numbers are passwords as well.
    """
    prompt, clean = redact("user al, pin 4711", {"action": "add_user", "username": "al",
                                                 "password": 4711})  # fmt: skip
    assert prompt == "user al, pin secret://al"
    assert clean["password_ref"] == "secret://al"


def test_an_error_does_not_quote_a_password() -> None:
    """
    What is refused ends in logs, so the message holds no value of a credential.
    """
    with pytest.raises(IntentError) as caught:
        canonical({"action": "user_add", "username": "jo", "password_ref": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_the_fixed_vocabularies_are_what_documents_promise() -> None:
    """
    Actions, reasons and askable fields are closed sets.
    """
    assert ACTIONS[:2] == ("dns_add", "dns_remove")
    assert len(FIRST) == 10
    assert set(FIRST) < set(ACTIONS)
    assert len(set(ACTIONS)) == len(ACTIONS)
    assert MISSING[:8] == (
        *("zone", "ip", "target", "username", "group", "name", "path", "share"),
    )  # fmt: skip
    assert [canonical({"action": "none", "reason": r})["reason"] for r in REASONS] == [
        "question",
        "out_of_scope",
        "unsafe",
    ]
    assert canonical({"action": "clarify", "missing": list(reversed(MISSING))})["missing"] == [
        *MISSING
    ]
