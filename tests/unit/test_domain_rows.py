"""
Laws of the rows about the whole command set: what each domain has, and what its suite never shares.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments.base_model.forbidden import Forbidden, phrasing_of
from finetuned.core.answer_format import make_format
from finetuned.data.intent_schema import intent_schema
from finetuned.data.intents import DOMAINS, canonical, dumps
from finetuned.data.intents.table import TABLE
from finetuned.data.suite import load_suite
from finetuned.errors import DatasetError
from finetuned.sources.intents import domain_rows, domain_suite, to_jsonl, training_rows
from finetuned.sources.intents.domains import SUITE, kind_of
from finetuned.sources.intents.entities import is_heldout
from finetuned.sources.intents.grammar import GAP, fill, pick
from finetuned.sources.intents.meaning import gaps_asked_for, intent_of
from finetuned.sources.intents.nearness import key_of
from finetuned.sources.intents.service_names import ServiceNames
from finetuned.sources.intents.tables import Family, families

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FORMAT = make_format("intents", intent_schema())
KINDS = ("service", "domain", "email", "text", "ca", "caname", "net", "addr", "iface")
FAMILIES = [(domain, family) for domain in DOMAINS for family in families(domain)]


@pytest.fixture(scope="module")
def training() -> list[dict[str, Any]]:
    return domain_rows(DOMAINS, 0, 420)


@pytest.fixture(scope="module")
def suites() -> dict[str, list[dict[str, Any]]]:
    return {domain: domain_suite(domain) for domain in DOMAINS}


def names_in(row: dict[str, Any]) -> set[str]:
    """
    Return the texts of a row's answer that name something; numbers are no names.
    """
    fixed = {"action", "record_type", "reason", "missing", "tag", "tls", "cause", "right", "access"}
    fixed |= {"verdict", "direction", "protocol"}

    def walk(value: object) -> set[str]:
        if isinstance(value, dict):
            return set().union(*(walk(v) for k, v in value.items() if k not in fixed))
        if isinstance(value, list):
            return set().union(*map(walk, value))
        return {value} if isinstance(value, str) else set()

    return walk(json.loads(row["messages"][1]["content"]))


def some_phrasings(family: Family, rng: random.Random) -> set[str]:
    return {pick(family.text.removeprefix("= "), rng) for _ in range(3)}


def test_the_first_set_is_what_it_was() -> None:
    """
    The demo, infra_200 and the embedded base depend on its bytes.
    """
    digest = hashlib.sha256(to_jsonl(training_rows(7, 600))).hexdigest()

    assert "7e15f75ccf6b628900f361e6ef94a7efb123be96d7e4e6a55ecd8112e3f6a778" == digest


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_has_sixty_families_and_a_third_of_them_only_in_tests(domain: str) -> None:
    """
    Counted without questions, refusals and questions back, of which each has its own.
    """
    commands = [f for f in families(domain) if kind_of(f.spec) in ("command", "batch")]
    kinds = Counter((f.only_tests, kind_of(f.spec)) for f in families(domain))
    only_tests = sum(f.only_tests for f in commands)

    assert len(commands) >= 60
    assert len(commands) - only_tests >= 40
    assert 3 * only_tests >= len(commands)
    assert [] == [(t, k) for t in (False, True) for k in SUITE if kinds[t, k] < 3]


def test_every_action_has_families_for_both_uses() -> None:
    """
    What is trained is tested, and what is tested is trained.
    """
    for only_tests in (False, True):
        said = {
            part.split()[0]
            for _, family in FAMILIES
            if family.only_tests == only_tests
            for part in family.spec.split(" & ")
        }
        assert {action.name for action in TABLE} - said == set()


def test_every_family_says_what_it_asks_for_and_is_understood() -> None:
    """
    A sentence has the gaps of its answer, in each of its ways, and no bracket is left.
    """
    rng = random.Random(1)
    names = ServiceNames(rng, heldout=False)
    for domain, family in FAMILIES:
        for phrasing in some_phrasings(family, rng):
            gaps = set(GAP.findall(phrasing))
            place = (domain, family.number, phrasing)
            if kind_of(family.spec) in ("command", "batch"):
                assert gaps_asked_for(family.spec) == gaps, place
            values = {gap: names.draw(gap) for gap in gaps}
            intent = intent_of(family.spec, values)
            assert canonical(intent) == intent, place
            assert not set("[]{}|") & set(fill(phrasing, values)), place


def test_no_family_stands_twice() -> None:
    """
    In none of the domains, and not for both uses.
    """
    twice = [text for text, n in Counter(f.text for _, f in FAMILIES).items() if n > 1]

    assert [] == twice


def test_answers_are_canonical_fit_the_schema_and_are_found_in_the_prompt(
    training: list[dict[str, Any]], suites: dict[str, list[dict[str, Any]]]
) -> None:
    """
    Of training rows and of all items of the suites; no value is invented, none is a password.
    """
    for row in [*training[:140], *(row for suite in suites.values() for row in suite)]:
        prompt, answer = (turn["content"] for turn in row["messages"])
        assert dumps(json.loads(answer)) == answer
        check = FORMAT.check_copied(answer, prompt)
        assert check is not None, answer
        assert check.copied, (prompt, answer, check.listed())
        assert '"password":' not in answer
        refs = re.findall(r'"password_ref":"([^"]*)"', answer)
        assert all(ref.startswith("secret://") and ref in prompt for ref in refs)


def test_rows_are_unique_in_equal_parts_and_of_the_seed(training: list[dict[str, Any]]) -> None:
    """
    A seed gives the same bytes; every domain has its part, and things that are not to be done.
    """
    assert Counter(row["metadata"]["class"] for row in training) == dict.fromkeys(DOMAINS, 60)
    assert len({row["messages"][0]["content"] for row in training}) == 420
    actions = Counter(row["metadata"]["action"] for row in training)
    assert min(actions["clarify"], actions["none"], actions["batch"]) >= 15
    few = to_jsonl(domain_rows(("mail",), 3, 40))
    assert few == to_jsonl(domain_rows(("mail",), 3, 40))
    assert few != to_jsonl(domain_rows(("mail",), 4, 40))


def test_what_cannot_be_made_is_said() -> None:
    """
    A name that is no domain, one that stands twice, too few rows.
    """
    with pytest.raises(DatasetError, match="no domain 'post'; there are dns, users"):
        domain_rows(("dns", "post"))
    with pytest.raises(DatasetError, match="each once"):
        domain_rows(("dns", "dns"))
    with pytest.raises(DatasetError, match="pki: 0 unique rows so far, 9 wanted"):
        domain_rows(("pki",), n=9, tries=0)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_suite_is_100_items_of_its_own_families(
    domain: str, suites: dict[str, list[dict[str, Any]]]
) -> None:
    """
    As many of each kind as the table says; hardly any words are said twice.
    """
    rows = suites[domain]
    kinds = Counter(kind_of(row["metadata"]["spec"]) for row in rows)
    only_tests = {f.spec for f in families(domain) if f.only_tests}
    said = Counter(key_of(row["metadata"]["phrasing"]) for row in rows)

    assert kinds == SUITE
    assert {row["metadata"]["spec"] for row in rows} <= only_tests
    assert {"json"} == {row["scorer"] for row in rows}
    assert max(said.values()) <= 2
    assert len(said) >= 80
    assert 100 == len(load_suite(BENCHMARKS / "domains" / f"{domain}_100.jsonl").questions)


def test_no_name_of_a_suite_is_trained(
    training: list[dict[str, Any]], suites: dict[str, list[dict[str, Any]]]
) -> None:
    """
    Hosts, addresses, networks, interfaces, texts, people, groups, shares and paths are disjoint.
    """
    known = set().union(*map(names_in, [*training, *training_rows(n=700)]))
    unknown = set().union(*(names_in(row) for suite in suites.values() for row in suite))

    assert len(unknown) > 600
    assert known & unknown == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_halves_of_the_names_never_meet(kind: str) -> None:
    """
    However many names are drawn from either half, none is in both.
    """
    halves = []
    for half in (False, True):
        names = ServiceNames(random.Random(8), heldout=half)
        halves.append({names.draw(kind) for _ in range(300)})

    assert min(map(len, halves)) > 20
    assert halves[0] & halves[1] == set()
    if kind in ("ca", "net", "iface"):
        assert all(is_heldout(name) for name in halves[1])


def test_no_sentence_of_a_suite_is_near_one_that_is_trained(
    suites: dict[str, list[dict[str, Any]]], training: list[dict[str, Any]]
) -> None:
    """
    No 13 words in a row and no sentence a word away: of the families, and of the first set.
    """
    rng = random.Random(2)
    asked = Forbidden(phrasing_of(row) for suite in suites.values() for row in suite)
    trained = {p for _, f in FAMILIES if not f.only_tests for p in some_phrasings(f, rng)}
    trained |= {phrasing_of(row) for row in [*training, *training_rows(n=1400)]}

    assert [] == [phrasing for phrasing in sorted(trained) if phrasing in asked]
