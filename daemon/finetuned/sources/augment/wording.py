"""
The same request in other words: synonyms, and sentences around it.

Pure; the synonyms are in synonyms.tsv, one group a line.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Final

from finetuned.sources.augment.exchange import Exchange, FreeWord, free_words, instruction_end
from finetuned.sources.augment.transform import Transform, lost_something, words_in_order

MOST_SYNONYMS: Final = 3
"""Words of one prompt that are exchanged at once."""

_ORDERS: Final = (
    "please {}",
    "{}, please",
    "could you {}?",
    "can you {}?",
    "would you please {}?",
    "I need you to {}",
    "we need you to {}",
    "I would like you to {}",
    "go ahead and {}",
    "hi, {}",
    "hello, please {}",
    "{}, thanks",
    "{} now",
    "your next task: {}",
    "it is time to {}",
    "make sure to {}",
    "{} as soon as you can",
)
"""Around a request that begins with a verb."""

_ANYTHING: Final = (
    "hi, {}",
    "hello, {}",
    "quick one: {}",
    "{} Thanks!",
    "here is the next one: {}",
    "please answer: {}",
    "one more: {}",
    "{} Thank you.",
)
"""Around anything else, a question for instance."""

_OPENER: Final = re.compile(
    r"(?:(?:hi|hello|hey|please|kindly|now)[,!]?\s+|"
    r"(?:could|can|would|will) you(?: please)?\s+|"
    r"(?:i|we) (?:need|want) (?:you )?to\s+|(?:i|we)(?:'d| would) like (?:you )?to\s+|"
    r"go ahead and\s+)+",
    re.IGNORECASE,
)
_CLOSER: Final = re.compile(r"(?:[,.!]?\s+(?:please|thanks|thank you))?[.!?]*\s*$", re.IGNORECASE)

_VERBS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        add allow answer append apply assign attach block bring build calculate change check
        choose classify clear compute configure convert copy count create define delete describe
        disable display do drop enable ensure enter erase explain extend extract find fix generate
        get give grant halt install join launch let list look make map modify move name open park
        pick place point print provide publish put read register remove rename repair replace
        reply reset resolve retire return revoke rewrite route say select send set share show
        solve sort start stop summarise summarize take tell turn translate update use work write
        """,
    )
)
"""Words with which an order begins."""


@cache
def synonyms() -> Mapping[str, tuple[str, ...]]:
    """
    Return the other ways to say each word or phrase, in small letters.
    """
    found: dict[str, tuple[str, ...]] = {}
    text = files(__package__).joinpath("synonyms.tsv").read_text(encoding="utf-8")
    for line in text.splitlines():
        group = line.split("\t")
        for phrase in group:
            others = tuple(other for other in group if other != phrase)
            found[phrase] = (*found.get(phrase, ()), *others)
    return found


def _replaceable(exchange: Exchange) -> list[tuple[FreeWord, tuple[str, ...]]]:
    table = synonyms()
    return [
        (word, others)
        for word in free_words(exchange)
        if (others := table.get(word.text.casefold()))
    ]


def _draw_synonyms(exchange: Exchange, rng: random.Random) -> Exchange | None:
    places = _replaceable(exchange)
    if not places:
        return None
    chosen = rng.sample(places, min(len(places), rng.randint(1, MOST_SYNONYMS)))
    prompt = exchange.prompt
    for word, others in sorted(chosen, key=lambda place: -place[0].start):
        other = rng.choice(others)
        if word.text[0].isupper():
            other = other[0].upper() + other[1:]
        prompt = prompt[: word.start] + other + prompt[word.end :]
    return replace(exchange, prompt=prompt)


def _only_synonyms(parent: Exchange, child: Exchange) -> str | None:
    if complaint := lost_something(parent, child):
        return complaint
    words = words_in_order(child.prompt)
    at = 0
    for word in words_in_order(parent.prompt):
        if at < len(words) and words[at] == word:
            at += 1
            continue
        for other in synonyms().get(word, ()):
            other_words = other.split()
            if words[at : at + len(other_words)] == other_words:
                at += len(other_words)
                break
        else:
            return "not_a_synonym"
    return None if at == len(words) else "words_added"


def _core(prompt: str) -> str:
    """Return a request without the politeness around it."""
    end = instruction_end(prompt)
    has_payload = bool(prompt[end:].strip())
    opened = _OPENER.match(prompt)
    core = prompt[opened.end() :] if opened else prompt
    return core if has_payload else core[: _CLOSER.search(core).start()]  # type: ignore[union-attr]


def _draw_phrasing(exchange: Exchange, rng: random.Random) -> Exchange | None:
    prompt = exchange.prompt.strip()
    has_payload = bool(prompt[instruction_end(prompt) :].strip())
    core = _core(prompt)
    first = re.match(r"[A-Za-z]+", core)
    is_order = first is not None and first[0].casefold() in _VERBS
    if not core.strip():
        return None
    if is_order:
        sentence = rng.choice([s for s in _ORDERS if not (has_payload and not s.endswith("{}"))])
        said = sentence.format(core[0].lower() + core[1:])
    else:
        sentence = rng.choice([s for s in _ANYTHING if not (has_payload and s[:2] == "{}")])
        said = sentence.format(prompt)
    if rng.random() < 0.5 and (is_order or not sentence.startswith("{}")):
        said = said[0].upper() + said[1:]
    if is_order and not has_payload and said[-1].isalnum() and rng.random() < 0.5:
        said += "."
    return replace(exchange, prompt=said)


def _core_is_there(parent: Exchange, child: Exchange) -> str | None:
    if complaint := lost_something(parent, child):
        return complaint
    core, said = words_in_order(_core(parent.prompt.strip())), words_in_order(child.prompt)
    n = len(core)
    if not any(said[i : i + n] == core for i in range(len(said) - n + 1)):
        return "request_changed"
    end = instruction_end(parent.prompt)
    return None if parent.prompt[end:].strip() in child.prompt else "request_changed"


SYNONYMS: Final = Transform(
    "synonyms",
    "the answer, its values in the prompt, and every word that has no synonym in the list",
    _draw_synonyms,
    _only_synonyms,
)
PHRASING: Final = Transform(
    "phrasing",
    "the answer, its values in the prompt, and the words of the request in their order",
    _draw_phrasing,
    _core_is_there,
)
