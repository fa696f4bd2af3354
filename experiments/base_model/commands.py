"""
Documents of the base model's corpus that are a command and its answer.

Sentences come from the demo's training sentences and from the tables in ``sentences/``.
Refused while they are drawn: a sentence near to one that a suite asks, and one that holds
a name of the test half. Knows blocks and how often each is drawn; does not know models.
"""

from __future__ import annotations

import random
import re
from functools import cache

from experiments.base_model import wording
from experiments.base_model.chat import Document, chat
from experiments.base_model.forbidden import Forbidden
from experiments.base_model.names import WideNames, gaps_of
from experiments.base_model.notations import (
    as_call,
    as_json,
    as_kind,
    as_words,
    compact,
    picked_fields,
)
from experiments.base_model.sentence_tables import tables
from experiments.base_model.sloppy import written
from finetuned.sources.intents.catalog import Template, composed, single, soften, template_of
from finetuned.sources.intents.domains import domain_sentence
from finetuned.sources.intents.entities import is_heldout
from finetuned.sources.intents.grammar import pick
from finetuned.sources.intents.meaning import Sentence, intent_of
from finetuned.sources.intents.nearness import Forbidden as Nearness
from finetuned.sources.intents.rows import heldout_phrasings
from finetuned.sources.intents.tables import stems

_BLOCKS = (
    ("dns_add", 10), ("dns_add_v4", 1), ("dns_add_v6", 2), ("dns_cname", 8), ("dns_wild", 4),
    ("dns_remove", 7), ("user_add", 7), ("user_add_secret", 3), ("user_remove", 7),
    ("group_add", 8), ("share_create", 10), ("share_grant", 9), ("batch", 9), ("joined", 6),
    ("clarify", 9), ("none", 12), ("whole_dns", 6), ("whole_users", 6), ("whole_samba", 5),
    ("whole_mail", 6), ("whole_pki", 5), ("whole_firewall", 6), ("whole_network", 6),
)  # fmt: skip
_WHOLE = "whole_"
"""What a block's name begins with that has the whole command set of a domain."""
_FROM_TABLES = 0.7
"""Share of the sentences of a block that come from ``sentences/``, if it is in there."""
_ASIDES = wording.ASIDES.strip().splitlines()


def command(rng: random.Random, names: WideNames) -> Document:
    """
    Draw a command and its answer in one of the base model's notations.
    """
    sentence = draw(rng)
    values = names.for_gaps(gaps_of(sentence.phrasing))
    is_plain = sentence.spec.startswith("dns_") and ":" not in sentence.spec
    if is_plain and "zone" in values and rng.random() < 0.05:
        values["zone"] = names.draw("wild")
    intent = intent_of(sentence.spec, values)
    steps = intent["steps"] if intent["action"] == "batch" else [intent]
    prompt = written(sentence.phrasing, values, rng)
    if rng.random() < 0.2:
        prompt = _with_aside(prompt, rng)
    form = rng.random()
    if form < 0.62:
        return chat(prompt, as_json(steps), "op")
    if form < 0.8:
        return chat(prompt, " ".join(as_words(s) for s in steps))
    if form < 0.87:
        return chat(prompt, "; ".join(as_call(s) for s in steps), "call")
    if form < 0.91:
        return chat(prompt, " + ".join(as_kind(s) for s in steps), "kind")
    picked = picked_fields(values, rng)
    return chat(f"{', '.join(picked)}: {prompt}", compact(picked), "fields")


def draw(rng: random.Random) -> Sentence:
    """
    Draw a sentence that no suite may ask.
    """
    blocks = [b for b, _ in _BLOCKS]
    weights = [w for _, w in _BLOCKS]
    while True:
        block = rng.choices(blocks, weights)[0]
        sentence = composed(rng, _clause) if block == "joined" else _single(block, rng)
        if not _is_asked(sentence.phrasing) and not _names_of_tests(sentence.phrasing):
            return sentence


@cache
def _suites() -> Forbidden:
    return Forbidden.of_suites()


@cache
def _heldout() -> Nearness:
    return heldout_phrasings()


def _is_asked(phrasing: str) -> bool:
    # The second is stricter about short phrasings and politeness inside a sentence.
    return phrasing in _suites() or phrasing in _heldout()


def _single(block: str, rng: random.Random) -> Sentence:
    found = tables().get(block)
    if not found or rng.random() >= _FROM_TABLES:
        if block.startswith(_WHOLE):
            return domain_sentence(block.removeprefix(_WHOLE), rng)
        return single(block, rng)
    template = rng.choice(found)
    phrasing = soften(pick(template.text, rng), rng, order=template.order)
    return Sentence(template.template_id, template.spec, phrasing)


def _clause(block: str, rng: random.Random) -> Template:
    found = tables().get(block)
    return rng.choice(found) if found and rng.random() < _FROM_TABLES else template_of(block, rng)


@cache
def _heldout_stems() -> frozenset[str]:
    kinds = ("host", "domain", "person", "group", "share")
    return frozenset(s for kind in kinds for s in stems(kind) if is_heldout(s))


def _names_of_tests(phrasing: str) -> bool:
    return any(w in _heldout_stems() for w in re.findall(r"[a-z]+", phrasing.lower()))


def _with_aside(prompt: str, rng: random.Random) -> str:
    aside = pick(rng.choice(_ASIDES), rng)
    for kind, words in wording.SMALL_TALK.items():
        bank = words.split()
        while kind in aside:
            aside = aside.replace(kind, rng.choice(bank), 1)
    if rng.random() < 0.5:
        return f"{aside}{rng.choice((', ', ': ', '; ', ', so ', '. '))}{prompt}"
    return f"{prompt.rstrip('.!?')}{rng.choice((', ', ' ', '; ', '. ', ' - '))}{aside}"
