"""
Rows about the whole command set, by domain: to train on, and a suite for each domain.

The first set of commands, which the demo trains, is rows.py; what differs is in
docs/reference/infrastructure-commands.md. Knows shares of rows; does not know sentences.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from finetuned.data.intents import DOMAINS
from finetuned.errors import DatasetError
from finetuned.sources.intents.catalog import single, soften
from finetuned.sources.intents.grammar import pick
from finetuned.sources.intents.meaning import Sentence
from finetuned.sources.intents.nearness import Forbidden, key_of
from finetuned.sources.intents.rows import Row, heldout_phrasings, row_of, values_for
from finetuned.sources.intents.service_names import ServiceNames
from finetuned.sources.intents.tables import Family, families

_FIRST_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "dns": ("dns_add", "dns_add_v6", "dns_cname", "dns_wild", "dns_remove"),
    "users": ("user_add", "user_add_secret", "user_remove", "group_add"),
    "samba": ("share_create",),
}
"""Blocks of the first set that say nothing which the whole set would say otherwise."""

_FROM_FIRST = 0.3
"""Share of the rows of a domain that come from its blocks of the first set, if it has some."""

_MEANS_MORE = re.compile(
    r"\b(disabl|deactivat|lock|suspend|block|revok|expir|terminat|clos)\w*", re.IGNORECASE
)
"""Words of the first set's sentences about removals that name another action of the whole set."""

_IS_PASTED = re.compile(r"[=>]| -")
"""What a line of another program has; it does not begin with a capital letter."""

_SHARES: Mapping[str, float] = {"clarify": 0.08, "none": 0.14, "batch": 0.12}
"""Share of the families' rows of each of these kinds; the others are single commands."""

SUITE: Mapping[str, int] = {
    "command": 74, "batch": 8, "clarify": 7, "question": 4, "out_of_scope": 3, "unsafe": 4,
}  # fmt: skip
"""Items of each kind in the suite of a domain, 100 together."""

_TEST_SEED = 100


def domain_rows(
    domains: Sequence[str], seed: int = 0, n: int = 2800, *, tries: int = 60
) -> list[Row]:
    """
    Generate training rows about *domains*, with the whole command set.

    Args:
        domains: Some of DOMAINS; each gets the same number of rows.
        seed: Every seed gives other rows; the same seed the same ones.
        n: Rows wanted.
        tries: Draws allowed for each row before a domain is called exhausted.

    Returns:
        *n* rows with different prompts, in random order.

    Raises:
        DatasetError: A domain is unknown or named twice, or has fewer unique rows than its share.
    """
    if unknown := [d for d in domains if d not in DOMAINS]:
        raise DatasetError(f"no domain {unknown[0]!r}; there are {', '.join(DOMAINS)}")
    if len(set(domains)) < len(domains) or not domains:
        raise DatasetError("name one domain or several, each once")
    rng = random.Random(f"intents:domains:{','.join(domains)}:{seed}")
    names = ServiceNames(rng, heldout=False)
    rows: dict[str, Row] = {}
    for i, domain in enumerate(domains):
        until = n * (i + 1) // len(domains)
        for _ in range(tries * (until - len(rows))):
            if len(rows) == until:
                break
            sentence = domain_sentence(domain, rng)
            if sentence.phrasing in heldout_phrasings() or _is_of_a_suite(sentence.phrasing):
                continue
            row = row_of(sentence, values_for(sentence, names, rng), domain)
            rows.setdefault(row["messages"][0]["content"], row)
        if len(rows) < until:
            raise DatasetError(f"{domain}: {len(rows)} unique rows so far, {until} wanted")
    result = list(rows.values())
    rng.shuffle(result)
    return result


def domain_suite(domain: str) -> list[Row]:
    """
    Generate the fixed suite of *domain*: 100 rows whose families and names are never trained.

    The same words, politeness apart, are said twice at most, and then with other names.
    """
    rng = random.Random(f"intents:suite:{domain}:{_TEST_SEED}")
    names = ServiceNames(rng, heldout=True)
    found = []
    for sentence in _suite_sentences(domain):
        row = row_of(sentence, values_for(sentence, names, rng), domain)
        row["metadata"]["split"] = "phrasing_disjoint"
        found.append({**row, "scorer": "json"})
    return found


def kind_of(spec: str) -> str:
    """
    Return what a sentence is to the shares of a suite: a command, a batch, or why it is neither.
    """
    action, *rest = spec.split()
    if action == "none":
        return rest[0]
    return "batch" if "&" in rest else "clarify" if action == "clarify" else "command"


@cache
def _suite_sentences(domain: str) -> tuple[Sentence, ...]:
    """Return the sentences of a suite: each family about as often as the others of its kind."""
    rng = random.Random(f"intents:sentences:{domain}:{_TEST_SEED}")
    found: list[Sentence] = []
    for kind, wanted in SUITE.items():
        of_kind = [f for f in families(domain) if f.only_tests and kind_of(f.spec) == kind]
        rng.shuffle(of_kind)
        said: Counter[tuple[str, ...]] = Counter()
        for family, most in _in_turn(of_kind):
            if said.total() == wanted:
                break
            phrasing = pick(_text(family), rng)
            if said[key := key_of(phrasing)] >= most:
                continue
            said[key] += 1
            if rng.random() < 0.5 and phrasing[0].isalpha() and not _IS_PASTED.search(phrasing):
                phrasing = phrasing[0].upper() + phrasing[1:]
            found.append(Sentence(_id_of(domain, family), family.spec, phrasing))
        if said.total() < wanted:
            raise DatasetError(f"{domain}: {said.total()} sentences of kind {kind}, need {wanted}")
    return tuple(found)


def _in_turn(found: Sequence[Family]) -> Iterator[tuple[Family, int]]:
    """Yield each family several times, with how often a phrasing of it may be used by then."""
    for most in (1, 1, 1, 2, 2):
        for family in found:
            yield family, most


@cache
def _suite_phrasings() -> Forbidden:
    return Forbidden(s.phrasing for domain in DOMAINS for s in _suite_sentences(domain))


def _is_of_a_suite(phrasing: str) -> bool:
    return phrasing in _suite_phrasings()


def domain_sentence(domain: str, rng: random.Random) -> Sentence:
    """
    Draw a sentence that is for training, from the families of *domain* or from the first set.

    It may all the same be near to one of a suite; whoever trains it looks first.
    """
    blocks = _FIRST_BLOCKS.get(domain, ())
    if blocks and rng.random() < _FROM_FIRST:
        while _MEANS_MORE.search((sentence := single(rng.choice(blocks), rng)).phrasing):
            pass
        return sentence
    kind = rng.choices(
        ("clarify", "none", "batch", "command"), (*_SHARES.values(), 1 - sum(_SHARES.values()))
    )[0]
    of_kind = [
        f for f in families(domain) if not f.only_tests
        and (kind_of(f.spec) == kind or (kind == "none" and f.spec.startswith("none ")))
    ]  # fmt: skip
    family = rng.choice(of_kind)
    order = not family.text.startswith("= ")
    phrasing = soften(pick(_text(family), rng), rng, order=order)
    return Sentence(_id_of(domain, family), family.spec, phrasing)


def _id_of(domain: str, family: Family) -> str:
    block = "batch" if "&" in family.spec else family.spec.partition(" ")[0]
    return f"{block}.{domain}-{family.number:03d}"


def _text(family: Family) -> str:
    return family.text.removeprefix("= ")
