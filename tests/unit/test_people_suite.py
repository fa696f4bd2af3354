"""
Laws of people_100: commands as 20 people type them, each with its one right answer.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from experiments.base_model.forbidden import Forbidden, phrasing_of
from finetuned.data.intents import FIRST, canonical, dumps
from finetuned.data.suite import load_suite
from finetuned.sources.intents import training_rows
from support.alike import alike

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
PATH, INFRA = BENCHMARKS / "people_100.jsonl", BENCHMARKS / "infra_200.jsonl"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in PATH.read_bytes().splitlines()]


def values(answer: object) -> list[str]:
    if isinstance(answer, dict):
        fixed = ("action", "record_type", "missing", "reason")
        return [v for k, part in answer.items() if k not in fixed for v in values(part)]
    if isinstance(answer, list):
        return [v for part in answer for v in values(part)]
    return [str(answer)]


def test_every_answer_is_canonical_and_its_values_stand_in_the_prompt(rows):
    """
    Nobody needs to know more than the prompt to answer right; names in the DNS have no case.
    """
    for row in rows:
        prompt, answer = (turn["content"] for turn in row["messages"])

        assert dumps(canonical(orjson.loads(answer))) == answer
        assert [] == [v for v in values(orjson.loads(answer)) if v.lower() not in prompt.lower()]


def test_20_people_and_the_documents_ask_for_everything(rows):
    """
    100 items, at most five of one person; every action of the first set, every reason.
    """
    people = Counter(row["metadata"]["person"] for row in rows)
    answers = [orjson.loads(row["messages"][1]["content"]) for row in rows]

    assert 100 == len(load_suite(PATH).questions)
    assert 3 == people.pop("documents")
    assert (20, 5) == (len(people), max(people.values()))
    assert set(FIRST) == {answer["action"] for answer in answers}
    assert {"A", "AAAA", "CNAME"} == {a["record_type"] for a in answers if "record_type" in a}
    assert {"question", "out_of_scope", "unsafe"} == {a["reason"] for a in answers if "reason" in a}


def test_the_examples_of_the_documents_are_in_it(rows):
    """
    What a reader of the documents tries first is asked.
    """
    examples = {
        "Create CNAME from www.local to server.local": {
            "action": "dns_add", "zone": "www.local", "record_type": "CNAME",
            "target": "server.local",
        },
        "Create share called 'family' at /srv/shares/family": {
            "action": "share_create", "name": "family", "path": "/srv/shares/family",
        },
        "Why is my DNS not working?": {"action": "none", "reason": "question"},
    }  # fmt: skip
    found = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in rows}

    assert examples == {prompt: orjson.loads(found[prompt]) for prompt in examples}


def test_no_two_sentences_are_alike_and_none_is_of_infra_200(rows):
    """
    100 items are 100 sentences, and they are no second look at another suite.
    """
    sentences = [phrasing_of(row) for row in rows]
    infra = Forbidden(phrasing_of(orjson.loads(line)) for line in INFRA.read_bytes().splitlines())

    assert [] == alike(sentences)
    assert [] == [s for s in sentences if s in infra]


def test_few_of_them_are_near_a_training_row(rows):
    """
    A person may say what a template says; most of the suite must not.
    """
    trained = Forbidden(phrasing_of(row) for row in training_rows(n=700))

    assert 10 >= len([row["id"] for row in rows if phrasing_of(row) in trained])
