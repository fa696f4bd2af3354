"""
Rows of ai_decisions: which are trained, which a person sees first, and which are none.
"""

from __future__ import annotations

import json

import pytest

from finetuned.core.review import Reason, Thumbs
from finetuned.sources.imports.decisions import found_in
from finetuned.sources.imports.found import FoundRow, Place, Refusal
from finetuned.sources.imports.judge import reasons_to_look

HERE = Place("dump.sql", 7)
DNS = {"action": "add", "zone": "API.local.", "ip": "10.0.0.5", "type": "A"}
CLEAN = '{"action":"dns_add","zone":"api.local","record_type":"A","ip":"10.0.0.5"}'


def decision(**values: object) -> dict[str, object]:
    return {
        "query": "point api.local at 10.0.0.5",
        "parsed_intent": json.dumps(DNS),
        "confidence": "0.95",
        "execution_status": "success",
        "user_feedback": None,
        "human_verified": "f",
        "correct_intent": None,
        **values,
    }


def row(**values: object) -> FoundRow:
    found = found_in(decision(**values), HERE)
    assert isinstance(found, FoundRow), found
    return found


def reasons(**values: object) -> tuple[Reason, ...]:
    return reasons_to_look(row(**values), threshold=0.9, vouched=False)


def answer(found: FoundRow) -> object:
    return found.row["messages"][1]["content"]  # type: ignore[index]


@pytest.mark.parametrize(
    "intent",
    [
        DNS,
        {"action": "dns_add", "zone": "api.local", "ip": "10.0.0.5", "record_type": "A"},
        {"category": "provision", "action": "create", "resource_type": "dns", "confidence": 0.9,
         "entities": {"zone": "api.local", "ip": "10.0.0.5"}},
    ],
)  # fmt: skip
def test_every_spelling_of_an_intent_becomes_the_one_that_is_trained(
    intent: dict[str, object],
) -> None:
    """
    As text of a dump, and as the object of a JSON export.
    """
    assert (
        CLEAN == answer(row(parsed_intent=json.dumps(intent))) == answer(row(parsed_intent=intent))
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"confidence": "0.9"}, ()),
        ({"confidence": "0.89"}, (Reason.UNSURE,)),
        ({"confidence": "0.81", "user_feedback": "thumbs_up"}, ()),
        ({"confidence": "0.8", "user_feedback": "thumbs_up"}, (Reason.UNSURE,)),
        ({"confidence": None}, (Reason.UNVERIFIED,)),
        ({"confidence": None, "human_verified": "t"}, ()),
        ({"execution_status": "failed"}, (Reason.FAILED,)),
        ({"execution_status": "timeout", "confidence": "0.5"}, (Reason.FAILED, Reason.UNSURE)),
        ({"execution_status": None}, (Reason.FAILED,)),
        ({"execution_status": "failed", "human_verified": True}, ()),
        ({"user_feedback": "thumbs_down"}, (Reason.DISLIKED,)),
        ({"user_feedback": "thumbs_up", "execution_status": "failed"}, (Reason.FAILED,)),
    ],
)
def test_what_nobody_vouches_for_goes_to_a_person(
    values: dict[str, object], expected: tuple[Reason, ...]
) -> None:
    """
    Success, and a confidence that is known and high enough, or a person's word.
    """
    assert expected == reasons(**values)


def test_a_table_without_the_column_of_execution_is_judged_by_confidence() -> None:
    """
    As the data set of input and output has none.
    """
    data = {"input": "x", "output": {"action": "dns_remove", "zone": "a.b"}, "confidence": 1.0}
    found = found_in(data, HERE)
    assert isinstance(found, FoundRow)
    assert () == reasons_to_look(found, threshold=0.9, vouched=False)
    verified = found_in({**data, "confidence": 0.1, "verified": True}, HERE)
    assert isinstance(verified, FoundRow)
    assert () == reasons_to_look(verified, threshold=0.9, vouched=False)


def test_a_correction_that_a_person_verified_is_the_answer() -> None:
    """
    Else the answer is what was parsed, and the correction is proposed to whoever reviews.
    """
    wrong = json.dumps({**DNS, "ip": "10.0.0.6"})
    verified = row(parsed_intent=wrong, correct_intent=json.dumps(DNS), human_verified="true")
    assert (CLEAN, None) == (answer(verified), verified.proposed)

    proposed = row(parsed_intent=wrong, correct_intent=json.dumps(DNS), user_feedback="thumbs_down")
    assert ("10.0.0.6" in str(answer(proposed)), CLEAN) == (True, proposed.proposed)
    assert (Reason.CORRECTED, Reason.DISLIKED) == proposed.reasons
    assert Thumbs.DOWN is proposed.thumbs

    broken = row(parsed_intent="{", correct_intent=json.dumps(DNS), human_verified="t")
    assert CLEAN == answer(broken)


def test_a_password_is_in_neither_question_nor_answer() -> None:
    """
    Whatever the spelling of the intent is.
    """
    intent = {"action": "add_user", "username": "john", "password": "abc123"}
    found = row(query="Create user john with password abc123", parsed_intent=json.dumps(intent))

    assert "abc123" not in json.dumps(found.row)
    assert found.had_secrets
    assert "Create user john with password secret://john" in json.dumps(found.row)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"query": " "}, "no_query"),
        ({"query": None}, "no_query"),
        ({"parsed_intent": None}, "no_answer"),
        ({"parsed_intent": "{}"}, "no_answer"),
        ({"parsed_intent": "not json"}, "bad_answer"),
        ({"parsed_intent": "[1]"}, "bad_answer"),
        ({"parsed_intent": '{"action":"dns_add","zone":"a"}'}, "bad_intent"),
        ({"parsed_intent": '{"category":"query"}', "confidence": "0.3"}, "parse_failure"),
        ({"parsed_intent": '{"category":"query","confidence":0.3}'}, "parse_failure"),
        ({"confidence": "95"}, "bad_value"),
        ({"confidence": "NaN"}, "bad_value"),
        ({"confidence": True}, "bad_value"),
        ({"human_verified": "maybe"}, "bad_value"),
        ({"user_feedback": "great"}, "bad_value"),
    ],
)
def test_what_is_no_row_is_refused_with_its_reason(values: dict[str, object], reason: str) -> None:
    """
    A failed parse is no question, and a broken value is not guessed at.
    """
    found = found_in(decision(**values), HERE)
    assert isinstance(found, Refusal)
    assert (reason, HERE) == (found.reason, found.place)


def test_a_question_that_a_person_verified_is_trained() -> None:
    """
    Then it is no failure of the parser.
    """
    intent = '{"category":"query","confidence":0.3}'
    found = row(parsed_intent=intent, confidence="0.3", human_verified="t")
    assert '{"action":"none","reason":"question"}' == answer(found)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2025-11-01 10:00:00.25+00", "2025-11-01T10:00:00.25Z"),
        ("2025-11-01T10:00:00Z", "2025-11-01T10:00:00Z"),
        ("2025-11-01 10:00:00", "2025-11-01T10:00:00Z"),
        ("2025-11-01 10:00:00+0530", "2025-11-01T10:00:00+05:30"),
        ("yesterday", None),
    ],
)
def test_times_are_written_in_one_way(given: str, read: str | None) -> None:
    """
    As PostgreSQL and JSON have them.
    """
    assert read == row(timestamp=given).at


def test_neither_customer_nor_output_is_kept() -> None:
    """
    What a row says of people and machines stays where it was.
    """
    found = row(
        customer_id="c-9", appliance_id="ap-7", execution_output="o-8", id="5", llm_model="m"
    )
    kept = json.dumps([found.row, found.facts, found.comment])

    assert not any(secret in kept for secret in ("c-9", "ap-7", "o-8"))
    assert ("5", "m") == (found.facts["id"], found.model)
