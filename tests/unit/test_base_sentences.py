"""
Laws of the sentences that the embedded base model is made from.
"""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from experiments.base_model.commands import draw
from experiments.base_model.exercises import _WORDS
from experiments.base_model.forbidden import Forbidden
from experiments.base_model.names import ENDINGS, WideNames, gaps_of
from experiments.base_model.notations import (
    as_call,
    as_json,
    as_kind,
    as_words,
    words_of_commands,
)
from experiments.base_model.sentence_tables import tables
from experiments.base_model.sloppy import written
from experiments.base_model.tokenizer import KEYS
from finetuned.data import intents
from finetuned.data.intents import canonical
from finetuned.data.intents.table import TABLE
from finetuned.sources.intents.catalog import Template
from finetuned.sources.intents.entities import is_heldout
from finetuned.sources.intents.grammar import count, pick
from finetuned.sources.intents.meaning import gaps_asked_for, intent_of
from finetuned.sources.intents.tables import stems

TEMPLATES = [t for found in tables().values() for t in found]
DOMAINS = {
    "dns": ("dns_add", "dns_cname", "dns_wild", "dns_remove"),
    "users": ("user_add", "user_add_secret", "user_remove", "group_add"),
    "samba": ("share_create", "share_grant"),
    "several steps": ("batch",),
    "nothing to do": ("clarify", "none"),
}


def asked_for(template: Template) -> set[str] | None:
    """
    Return the gaps that the spec needs; None if it may have any.
    """
    words = [part.split() for part in template.spec.split(" & ")]
    if any(w[0] in ("clarify", "none") for w in words):
        return None
    return gaps_asked_for(template.spec)


def test_every_template_says_what_its_spec_needs_in_each_of_its_ways() -> None:
    """
    A sentence without a value of its answer would teach to invent one.
    """
    rng = random.Random(0)
    wrong = [
        (t.template_id, phrasing)
        for t in TEMPLATES
        for phrasing in (pick(t.text, rng) for _ in range(4))
        if asked_for(t) not in (None, set(gaps_of(phrasing)))
    ]

    assert [] == wrong


def test_every_template_has_a_canonical_answer() -> None:
    """
    What the corpus answers is what the schema of intents accepts.
    """
    rng = random.Random(1)
    names = WideNames(rng)
    for template in TEMPLATES:
        values = names.for_gaps(gaps_of(pick(template.text, rng)))
        intent = intent_of(template.spec, values)
        assert canonical(intent) == intent, template.template_id


def test_no_template_stands_twice() -> None:
    """
    A line that stands twice is drawn twice as often without anybody having said so.
    """
    twice = [text for text, n in Counter(t.text for t in TEMPLATES).items() if n > 1]

    assert [] == twice


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_has_at_least_1500_families_of_sentences(domain: str) -> None:
    """
    A family is one way through a template; there are hundreds of templates to each domain.
    """
    found = [t for block in DOMAINS[domain] for t in tables()[block]]

    assert len(found) >= 400
    assert sum(count(t.text) for t in found) >= 1500


@pytest.mark.parametrize("domain", intents.DOMAINS)
def test_the_whole_command_set_of_a_domain_has_sentences_of_its_own(domain: str) -> None:
    """
    Every action that the first set lacks is said, and answered in notations of its own.
    """
    found = tables()[f"whole_{domain}"]
    said = {part.split()[0] for t in found for part in t.spec.split(" & ")}
    lacking = {a.name for a in TABLE if a.domain == domain and not a.first}
    names = WideNames(random.Random(5))

    assert lacking - said == set()
    assert sum(count(t.text) for t in found) >= 150
    for template in found:
        values = names.for_gaps(gaps_of(pick(template.text, random.Random(6))))
        step = intent_of(template.spec, values)
        texts = (as_json([step]), as_call(step), as_kind(step), as_words(step))
        assert all(texts), template.template_id
        own = {"action", step["action"]} - {"none", "clarify"}
        assert not any(f'"{word}"' in text for text in texts for word in own)


def test_every_word_of_an_answer_is_a_token_and_is_practised() -> None:
    """
    A word that is bytes takes several steps, and one that was never an answer is learnt late.
    """
    assert {"interface", "vlan", "starttls", "missing"} <= {*KEYS}
    assert words_of_commands() <= {*KEYS}
    assert words_of_commands() <= {*_WORDS}


def test_no_sentence_is_near_to_one_that_a_suite_asks() -> None:
    """
    What is tested was not taught: no 13 words in a row, and no sentence a word away.
    """
    rng = random.Random(2)
    asked = Forbidden.of_suites()

    assert [] == [p for p in (draw(rng).phrasing for _ in range(600)) if p in asked]


def test_the_names_of_an_answer_stand_in_the_prompt_as_they_are() -> None:
    """
    Quotes, typos and capital letters never change a name that is to be copied.
    """
    rng = random.Random(3)
    names = WideNames(rng)
    for _ in range(1500):
        sentence = draw(rng)
        values = names.for_gaps(gaps_of(sentence.phrasing))
        prompt = written(sentence.phrasing, values, rng)
        for gap, value in values.items():
            host = gap.startswith(("zone", "target"))
            assert (value in prompt.lower()) if host else (value in prompt), (sentence, prompt)


def test_names_are_of_the_training_half_and_belong_together() -> None:
    """
    No stem of the test half; a share is often called as its folder, an alias lies near its target.
    """
    rng = random.Random(4)
    names = WideNames(rng)
    drawn = [names.for_gaps(("share", "path", "zone", "target")) for _ in range(600)]
    heldout = {s for kind in ("host", "domain", "share") for s in stems(kind) if is_heldout(s)}
    endings = {w for ending in ENDINGS for w in ending.split(".")}
    words = {w for values in drawn for v in values.values() for w in re.findall("[a-z]+", v)}
    same = sum(v["path"].endswith("/" + v["share"]) for v in drawn)
    site = sum(v["zone"].partition(".")[2] == v["target"].partition(".")[2] for v in drawn)

    assert heldout & words <= endings
    assert 120 < same < 480
    assert 120 < site < 480
