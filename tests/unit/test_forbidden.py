"""
Laws of what a base model's corpus must not hold.
"""

from __future__ import annotations

import time

import orjson
import pytest

from experiments.base_model.forbidden import (
    Forbidden,
    distance,
    key_of,
    phrasing_of,
    phrasings_of_suites,
    with_gaps,
)
from experiments.sealed_set import open_sealed

PLANTED = "The crane was painted on Tuesday, hence let {zone} lead to {ip} there"


@pytest.fixture(scope="module")
def forbidden() -> Forbidden:
    return Forbidden.of_suites()


@pytest.mark.parametrize(
    "text",
    [
        PLANTED,
        "hello, can you THE CRANE was painted on Tuesday hence let {zone2} lead to {ip6} there!",
        "The crane was painted on Monday, hence let {wild} lead to {ip4} there",
        "The crane was painted on last Tuesday, hence let {zone} lead to {ip}",
        "The crane was painted on Tuesday, hence let mill-07.lan lead to fd00::5 there",
    ],
)
def test_a_near_duplicate_is_refused(text):
    """
    Politeness, case, values and a fifth of the words do not make another sentence.
    """
    assert text in Forbidden([PLANTED])


@pytest.mark.parametrize(
    "text",
    [
        "The crane is green, so {zone} is at {ip}",
        "let {zone} lead to {ip} there",
        "The shed was sold on Friday, hence let {user} join {group} there",
    ],
)
def test_another_sentence_is_not(text):
    """
    The check leaves room for a corpus.
    """
    assert text not in Forbidden([PLANTED])


def test_thirteen_words_in_a_row_are_refused_wherever_they_stand():
    """
    A text that quotes an item is no near-duplicate of it, and is refused all the same.
    """
    words = [f"w{i}" for i in range(40)]
    forbidden = Forbidden([" ".join(words)])
    around = [f"x{i}" for i in range(20)]

    assert " ".join([*around, *words[5:18], *around]) in forbidden
    assert " ".join([*around, *words[5:17], *around]) not in forbidden


def test_a_short_phrasing_forbids_itself_only():
    """
    Of three words two are often gaps: another third word is another sentence.
    """
    forbidden = Forbidden(["useradd {user}", "{zone} IN {ip}"])

    assert "Useradd {user2}!" in forbidden
    assert "please useradd the {user}" in forbidden
    assert "userdel {user}" not in forbidden
    assert "{zone} at {ip}" not in forbidden


def test_values_become_gaps():
    """
    Suites are compared by their sentences: from the phrasing, else the answer, else the shape.
    """
    answer = {"action": "share_grant", "username": "mia", "share": "Films"}
    row = {
        "messages": [
            {"role": "user", "content": "let mia see 'Films', not amiable"},
            {"role": "assistant", "content": orjson.dumps(answer).decode()},
        ]
    }

    assert "let {user} see '{share}', not amiable" == phrasing_of(row)
    assert "of its own" == phrasing_of({**row, "metadata": {"phrasing": "of its own"}})
    assert "Is 7 prime?" == phrasing_of({"prompt": "Is 7 prime?", "expected": "yes"})
    assert "{zone} {zone} {ip} {ip} {path} {secret} and/or at 12:30" == with_gaps(
        "*.a.lan w-1.b.io 10.0.0.5 fd00::5 /srv/x/y secret://v/x and/or at 12:30"
    )


def test_distances_are_those_of_words():
    """
    Added, left out, exchanged; beyond the limit it is not counted further.
    """
    a, b = tuple("abcdef"), tuple("axcdf")

    assert 2 == distance(a, b, 5)
    assert 0 == distance(a, a, 0)
    assert 2 == distance(a, b, 1)
    assert 1 == distance(a, (), 0)


def test_every_suite_forbids_its_own_items_with_a_word_left_out(forbidden):
    """
    All files of benchmarks/ are covered, the sealed one too.
    """
    sealed = [phrasing_of(orjson.loads(line)) for line in open_sealed().data.splitlines()]
    everything = phrasings_of_suites()
    shorter = [
        " ".join((*key[:2], *key[3:]))
        for key in (key_of(with_gaps(text)) for text in everything)
        if len(key) >= 5
    ]

    assert 0 == sum(text not in forbidden for text in everything)
    assert 0 == sum(text not in forbidden for text in shorter)
    assert set(sealed) <= set(everything)
    assert len(everything) >= 720


def test_60000_sentences_are_looked_up_in_seconds(forbidden):
    """
    At most 0.2 ms each, so that the check costs a corpus 12 s.
    """
    texts = [
        f"please w{i} the {{zone}} for us and {{user}} will w{i + 1} {{ip}} before lunch"
        for i in range(500)
    ]
    best = min(timed(forbidden, texts) for _ in range(3))

    assert best / len(texts) <= 0.2e-3


def timed(forbidden: Forbidden, texts: list[str]) -> float:
    began = time.process_time()
    assert 0 == sum(text in forbidden for text in texts)
    return time.process_time() - began
