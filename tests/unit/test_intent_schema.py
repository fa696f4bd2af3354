"""
The JSON Schema of infrastructure commands says what data/intents/ does.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.core.answer_format import make_format
from finetuned.core.json_schema import schema_complaint
from finetuned.data.intent_schema import STEPS, intent_schema
from finetuned.data.intents import ACTIONS, MISSING, REASONS, canonical, dumps, is_intent
from finetuned.sources.intents import training_rows

CHECKOUT = Path(__file__).parents[2]
SCHEMA = intent_schema()

INTENTS = [
    {"action": "dns_add", "zone": "a.b", "ip": "10.0.0.5"},
    {"action": "dns_add", "zone": "a.b", "ip": "fd00::4d2"},
    {"action": "dns_add", "zone": "*.a.b", "target": "_srv._tcp.a"},
    {"action": "dns_remove", "zone": "a"},
    {"action": "user_add", "username": "José Müller"},
    {"action": "user_add", "username": "a", "password": "geheim"},
    {"action": "user_remove", "username": "a.b"},
    {"action": "group_add_member", "username": "a", "group": "b c"},
    {"action": "share_create", "name": "a", "path": "/srv/my files"},
    {"action": "share_grant", "username": "a", "share": "b"},
    {"action": "user_add", "username": "a", "group": "b"},
    {"action": "clarify", "missing": list(MISSING)},
    *({"action": "none", "reason": reason} for reason in REASONS),
]


@pytest.mark.parametrize("intent", INTENTS, ids=lambda intent: str(intent["action"]))
def test_every_canonical_intent_fits(intent):
    """
    So that no right answer is ever made impossible.
    """
    assert None is schema_complaint(canonical(intent), SCHEMA)


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "dns_add", "zone": "a.b", "record_type": "A", "ip": "10.0.0.5", "group": "b"},
        {"action": "dns_add", "zone": "a.b", "record_type": "CNAME", "ip": "10.0.0.5"},
        {"action": "dns_add", "zone": "a.b", "record_type": "A"},
        {"action": "dns_add", "zone": "A.b", "record_type": "CNAME", "target": "c"},
        {"action": "dns_remove", "zone": "a b"},
        {"action": "dns_remove", "zone": "a.b."},
        {"action": "user_add", "username": ""},
        {"action": "user_add", "username": " a"},
        {"action": "user_add", "username": "a", "password_ref": "geheim"},
        {"action": "batch", "steps": []},
        {"action": "batch", "steps": [{"action": "batch", "steps": []}]},
        {"action": "clarify", "missing": []},
        {"action": "none", "reason": "because"},
        {"action": "reboot"},
        [],
    ],
    ids=str,
)
def test_what_no_intent_is_does_not_fit(answer):
    """
    Mixed keys, values of another kind, words that nobody knows.
    """
    assert None is not schema_complaint(answer, SCHEMA)


def test_each_action_has_its_object_and_steps_are_all_but_batches():
    """
    The table is the one source: an action that is added is in the schema.
    """
    assert set(ACTIONS) == {*STEPS, "batch"}
    bare = [a for a in STEPS if schema_complaint({"action": a}, SCHEMA) is None]
    assert ["mail_relay_remove"] == bare, "the keys of all others are needed"


def test_rows_of_the_generator_fit_and_no_value_of_theirs_is_invented():
    """
    The copy check has no false alarm on 150 commands of all kinds, nor on the suite's 200.
    """
    found = make_format("intents", SCHEMA)
    suite = (CHECKOUT / "benchmarks" / "infra_200.jsonl").read_text().splitlines()
    rows = [*training_rows(3, 150), *map(json.loads, suite)]
    for row in rows:
        prompt, answer = row["messages"][-2]["content"], row["messages"][-1]["content"]
        assert is_intent(json.loads(answer))
        assert answer == dumps(json.loads(answer))
        check = found.check_copied(answer, prompt)
        assert check is not None, answer
        assert check.copied, (prompt, answer, check.listed())
