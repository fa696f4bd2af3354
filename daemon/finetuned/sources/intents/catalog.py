"""
The training sentences as one list of templates, each with what it asks for.

Knows how a template's gaps become a canonical intent, and how people soften an
order; does not know how many rows are wanted.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from finetuned.data.intents import canonical
from finetuned.sources.intents import (
    states,
    wording,
    wording_complex,
    wording_none,
    wording_shares,
)
from finetuned.sources.intents.grammar import GAP, fill, pick, tidy

_MACROS: Mapping[str, str] = {
    "@NEW": wording._NEW,
    "@REC": wording._REC,
    "@IN": wording._IN,
    "@DEL": wording._DEL,
    "@ACCT": wording._ACCT,
    "@MK": wording._MK,
    "@BOX": wording._BOX,
    "@DIR": wording._DIR,
    "{V}": "[{ip}|{ip}|{target}]",
}

_OPENERS = (
    "please", "please", "can you", "could you", "could you please", "would you", "kindly",
    "I need you to", "we need to", "I want you to", "I would like you to", "hi, please", "hey,",
    "hello, can you", "ok, now", "next,", "go ahead and", "quickly", "now", "you should",
    "we have to", "help me to", "your task:", "urgent:", "for today:", "just",
)  # fmt: skip
_GREETINGS = ("hi,", "hello,", "hey,", "good morning,", "note:", "fyi,", "listen,", "so,", "ok,")
_CLOSERS = (
    "please", "thanks", "thank you", "now", "today", "right away", "asap", "for me", "for us",
    "when you can", "if possible", "this week", "before lunch", "tonight", "as soon as possible",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Template:
    """
    One line of the catalog.
    """

    template_id: str
    spec: str
    """What it asks for: actions and gaps, see ``intent_of``."""
    text: str
    order: bool
    """Whether "please" may stand before it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    A phrasing with its gaps still open.
    """

    template_id: str
    spec: str
    phrasing: str


@cache
def catalog() -> Mapping[str, tuple[Template, ...]]:
    """
    Return the templates of every block, by the block's name.
    """
    blocks = {
        "dns_add": [("dns_add zone ip", wording.DNS_ADD)],
        "dns_add_v4": [("dns_add zone ip4", wording.DNS_ADD_V4)],
        "dns_add_v6": [("dns_add zone ip6", wording.DNS_ADD_V6)],
        "dns_cname": [("dns_add zone target", wording.DNS_CNAME)],
        "dns_wild": [("dns_add wild *", wording.DNS_WILD)],
        "dns_remove": [("dns_remove zone", wording.DNS_REMOVE)],
        "user_add": [("user_add user", wording.USER_ADD)],
        "user_add_secret": [("user_add user secret", wording.USER_ADD_STORED)],
        "user_remove": [("user_remove user", wording.USER_REMOVE)],
        "group_add": [("group_add_member user group", wording.GROUP_ADD)],
        "share_create": [("share_create share path", wording_shares.SHARE_CREATE)],
        "share_grant": [("share_grant user share", wording_shares.SHARE_GRANT)],
        "batch": list(wording_complex.BATCH),
        "clarify": [(f"clarify {what}", t) for what, t in wording_complex.CLARIFY],
        "none": [(f"none {reason}", t) for reason, t in wording_none.NONE],
    }
    result = {name: _templates(name, block) for name, block in blocks.items()}
    for name, predicates in states.PREDICATES.items():
        framed = [
            (spec, states.FRAMES.replace("SUBJECT", subject).replace("PREDICATE", predicate))
            for spec, subject, predicate in predicates
        ]
        result[f"{name}.framed"] = _templates(f"{name}.framed", framed)
    return result


def _templates(name: str, block: list[tuple[str, str]]) -> tuple[Template, ...]:
    result: list[Template] = []
    for spec, text in block:
        # A line that starts with a space, a bar or a comma goes on with the one before.
        for line in re.sub(r"\n(?=[ |,])", "", text.strip()).splitlines():
            order = not line.startswith("= ")
            body = line.removeprefix("= ")
            for macro, meaning in _MACROS.items():
                body = body.replace(macro, meaning)
            result.append(Template(f"{name}.{len(result):02d}", spec, body, order))
    return tuple(result)


def soften(phrasing: str, rng: random.Random, *, order: bool) -> str:
    """
    Wrap *phrasing* the way people do: a greeting, a "please", a final dot.

    Args:
        phrasing: A phrasing with open gaps, in small letters.
        rng: Where the choices come from.
        order: Whether it is an order, which "please" may precede.

    Returns:
        The wrapped phrasing; the first letter may have become a capital one,
        unless the first word is a gap.
    """
    openers, chance = (_OPENERS, 0.45) if order else (_GREETINGS, 0.15)
    asks = phrasing.endswith("?")
    if rng.random() < chance and not asks:
        phrasing = f"{rng.choice(openers)} {phrasing}"
    if rng.random() < 0.2 and not asks and phrasing[-1] not in ".!":
        phrasing += f"{rng.choice((' ', ', '))}{rng.choice(_CLOSERS)}"
    if rng.random() < 0.6:
        phrasing = phrasing[0].upper() + phrasing[1:]
    if phrasing[-1].isalnum() or phrasing[-1] == "}":
        phrasing += rng.choice(("", "", ".", ".", ".", "!"))
    return phrasing


def single(block: str, rng: random.Random) -> Sentence:
    """
    Draw one sentence of *block*, softened.
    """
    template = _template(block, rng)
    bare = pick(template.text, rng)
    return Sentence(template.template_id, template.spec, soften(bare, rng, order=template.order))


def _template(block: str, rng: random.Random) -> Template:
    # Said by its result as often as said as an order, where both ways exist.
    framed = block in states.PREDICATES and rng.random() < 0.5
    return rng.choice(catalog()[f"{block}.framed" if framed else block])


_CLAUSES = (
    "dns_add", "dns_add", "dns_cname", "dns_remove", "user_add", "user_remove", "group_add",
    "share_create", "share_grant",
)  # fmt: skip
_JOINTS = (
    "{} and {}", "{} and {}", "{}, then {}", "{} and then {}", "{}; {}", "{}. {}", "{}, and {}",
    "{} and also {}", "first {}, then {}", "{}. Also {}", "two things: {}, {}", "{}, {}",
    "1) {} 2) {}", "{} + {}", "{} as well as {}", "{}; also {}", "both: {} and {}",
    "{}, after that {}", "{}, {} and {}", "{}, then {}, then {}", "1. {} 2. {} 3. {}",
    "{}; {}; {}", "three things: {}, {}, {}",
)  # fmt: skip


def composed(rng: random.Random) -> Sentence:
    """
    Draw a batch made of two or three unrelated commands in one sentence.
    """
    joint = rng.choice(_JOINTS)
    seen: dict[str, int] = {}
    clauses: list[str] = []
    specs: list[str] = []
    ids: list[str] = []
    for _ in range(joint.count("{}")):
        template = _template(rng.choice(_CLAUSES), rng)
        bare = pick(template.text, rng).rstrip("?. ")
        names = {gap: _fresh(gap, seen) for gap in dict.fromkeys(GAP.findall(bare))}
        clauses.append(fill(bare, {gap: f"{{{new}}}" for gap, new in names.items()}))
        specs.append(" ".join(names.get(word, word) for word in template.spec.split()))
        ids.append(template.template_id)
    return Sentence(
        f"joined:{'+'.join(ids)}",
        " & ".join(specs),
        soften(tidy(joint.format(*clauses)), rng, order=joint[0] == "{"),
    )


def _fresh(gap: str, seen: dict[str, int]) -> str:
    seen[gap] = seen.get(gap, 0) + 1
    return gap if seen[gap] == 1 else f"{gap}{seen[gap]}"


def intent_of(spec: str, values: Mapping[str, str]) -> dict[str, Any]:
    """
    Build the canonical intent that *spec* asks for.

    Args:
        spec: One step, or several joined by ``&``: an action, then the gaps
            that hold its values in the order of the schema. ``*`` is whatever
            address or target there is, ``target=zone`` takes the target from
            another gap. ``clarify`` and ``none`` carry their answer.
        values: The name that stands in each gap.

    Returns:
        The canonical intent; a batch where there are several steps.
    """
    steps = [_step(part.split(), values) for part in spec.split(" & ")]
    return canonical(steps[0] if len(steps) == 1 else {"action": "batch", "steps": steps})


def _step(words: list[str], values: Mapping[str, str]) -> dict[str, Any]:
    action, gaps = words[0], words[1:]
    if action == "clarify":
        return {"action": action, "missing": gaps}
    if action == "none":
        return {"action": action, "reason": gaps[0]}
    if action == "dns_add":
        zone, kind = gaps
        if kind == "*":
            kind = next(g for g in ("ip", "ip4", "ip6", "target") if g in values)
        key = "target" if kind.startswith("target") else "ip"
        return {"action": action, "zone": values[zone], key: values[kind.rpartition("=")[2]]}
    keys = {
        "dns_remove": ("zone",),
        "user_add": ("username", "password_ref"),
        "user_remove": ("username",),
        "group_add_member": ("username", "group"),
        "share_create": ("name", "path"),
        "share_grant": ("username", "share"),
    }[action]
    return {"action": action, **{k: values[g] for k, g in zip(keys, gaps, strict=False)}}


_SOFT_WORDS = frozenset(
    word
    for phrase in (*_OPENERS, *_GREETINGS, *_CLOSERS)
    for word in re.findall(r"[a-z]+", phrase.lower())
) | {"the", "a", "an"}


def key_of(phrasing: str) -> tuple[str, ...]:
    """
    Reduce *phrasing* to what makes it a phrasing of its own.

    Case, punctuation, articles and politeness are dropped, and gaps of one kind
    become equal, so that "Please point {zone} at {ip4}!" and "point {zone} at
    {ip}" have one key.

    Args:
        phrasing: A sentence with open gaps.

    Returns:
        Its words, in small letters, gaps as ``{kind}``.
    """
    kinds = {"ip4": "ip", "ip6": "ip", "wild": "zone", "target": "zone"}

    def plain(match: re.Match[str]) -> str:
        kind = (
            match.group(1).rstrip("0123456789") if match.group(1) not in kinds else match.group(1)
        )
        return f" {{{kinds.get(kind, kind)}}} "

    words = re.findall(r"\{\w+\}|[\w']+", GAP.sub(plain, phrasing).lower())
    return tuple(w for w in words if w not in _SOFT_WORDS)


class Forbidden:
    """
    Phrasings that are too near to one of the test set's own.

    Near means: the same words, or one word added, left out or exchanged, after
    ``key_of``.
    """

    def __init__(self, phrasings: Iterable[str]) -> None:
        self._keys = {key_of(p) for p in phrasings}
        self._shorter = {short for key in self._keys for short in _without_one(key)}
        self._masked = {mask for key in self._keys for mask in _with_one_masked(key)}

    def __contains__(self, phrasing: str) -> bool:
        key = key_of(phrasing)
        return (
            key in self._keys
            or key in self._shorter
            or any(short in self._keys for short in _without_one(key))
            or any(mask in self._masked for mask in _with_one_masked(key))
        )


def _without_one(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (key[:i] + key[i + 1 :] for i in range(len(key)))


def _with_one_masked(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return ((*key[:i], "", *key[i + 1 :]) for i in range(len(key)))


def realise(sentence: Sentence, draw: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """
    Fill the gaps of *sentence*.

    Returns:
        The prompt and its canonical intent.
    """
    return fill(sentence.phrasing, draw), intent_of(sentence.spec, draw)
