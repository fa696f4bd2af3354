"""
The answers that a page shows, with the words that differ from the expected answer.

Pure. Knows items and outcomes of reports; does not know HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from finetuned.core.text import visible
from finetuned.reports.wording import count, finite, nats, number

SHOWN_CHARS = 4_000
"""Of each text. The page stays readable, and the comparison of words fast."""

SHOWN_DETAIL_CHARS = 300

LEAST_ALIKE = 0.4
"""Share of words and signs in common (0 to 1) from which a comparison by words helps."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")

Words = list[tuple[str, str]]
"""Pieces of a text in order, each with ``same``, ``ins`` (not in the golden) or ``del``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What one subject answered.
    """

    who: str
    role: str
    """base, incumbent, candidate, a or b: chooses the colour."""
    judged: str
    """right, wrong or unjudged."""
    words: Words
    """Against the golden answer; empty when there is no answer."""
    facts: str
    """Score, loss, length: one line."""


@dataclass(frozen=True, slots=True)
class Card:
    """
    One question with the golden answer and what each subject answered.
    """

    kind: str
    """Which filter it belongs to."""
    suite: str
    title: str
    id: str
    scorer: str
    system: str
    prompt: str
    golden: str
    answers: tuple[Answer, ...]


def cut(text: object) -> str:
    """
    Return *text* made visible, at most SHOWN_CHARS of it and how much is missing.
    """
    shown = str("" if text is None else text)
    rest = len(shown) - SHOWN_CHARS
    tail = f"\n... {count(rest, 'more character')}" if rest > 0 else ""
    return visible(shown[:SHOWN_CHARS]) + tail


def differing_words(golden: str, answer: str) -> Words:
    """
    Return *answer* in pieces, with what it has beyond *golden* and what it lacks of it.

    The ``same`` and ``ins`` pieces joined are the answer. An answer that shares next to
    nothing with the golden one is one ``ins``: their common commas explain nothing.
    """
    have, want = _WORDS.findall(answer), _WORDS.findall(golden)
    matcher = SequenceMatcher(None, want, have)
    steps = matcher.get_opcodes()
    common = sum(j - i for what, i, j, _, _ in steps if what == "equal")
    if answer and 2 * common < LEAST_ALIKE * (len(want) + len(have)):
        return [("ins", answer)]
    pieces: Words = []
    lacks, beyond = "", ""
    for n, (what, i, j, k, m) in enumerate(steps):
        text = "".join(have[k:m])
        alone = 0 < n < len(steps) - 1 and not re.search(r"\w", text)
        if what != "equal" or alone:
            # Punctuation between two changes belongs to them.
            lacks, beyond = lacks + "".join(want[i:j]), beyond + text
            continue
        pieces += _change(lacks, beyond)
        pieces.append(("same", text))
        lacks, beyond = "", ""
    return pieces + _change(lacks, beyond) or [("same", "")]


def _change(lacks: str, beyond: str) -> Words:
    return [piece for piece in (("del", lacks), ("ins", beyond)) if piece[1]]


def _facts(outcome: Mapping[str, Any]) -> str:
    facts = []
    if finite(outcome.get("score")) is not None:
        facts.append(f"score {number(outcome['score'])}")
    loss, n_tokens = finite(outcome.get("loss")), outcome.get("n_tokens")
    if loss is not None and n_tokens:
        facts.append(f"loss {nats(loss / n_tokens)}")
    if outcome.get("answer") is not None:
        facts.append(count(outcome.get("answer_tokens") or 0, "token"))
        facts += [] if outcome.get("stopped", True) else ["cut off"]
    facts += ["timed out"] if outcome.get("timed_out") else []
    if outcome.get("detail"):
        detail = visible(json.dumps(outcome["detail"], ensure_ascii=False, sort_keys=True))
        more = "..." if len(detail) > SHOWN_DETAIL_CHARS else ""
        facts.append(detail[:SHOWN_DETAIL_CHARS] + more)
    return ", ".join(facts)


def judged(outcome: Mapping[str, Any] | None) -> str:
    """
    Return ``right``, ``wrong``, or ``unjudged`` if nothing was asked.
    """
    correct = (outcome or {}).get("correct")
    return "unjudged" if correct is None else "right" if correct else "wrong"


def _answer(item: Mapping[str, Any], key: str, who: str) -> Answer:
    outcome = item[key]
    text = outcome.get("answer")
    words = [] if text is None else differing_words(cut(item.get("golden")), cut(text))
    return Answer(who, key, judged(outcome), words, _facts(outcome))


def card(
    item: Mapping[str, Any],
    *,
    kind: str,
    title: str,
    outcomes: Mapping[str, Any],
    names: Mapping[str, str],
) -> Card:
    """
    Return what the page shows of one item.

    Args:
        item: ``suite``, ``id``, ``prompt``, ``golden``; optional ``scorer`` and ``system``.
        kind: The filter it belongs to.
        title: What a person calls its suite.
        outcomes: By subject.
        names: Subject -> what the page calls it, in the order shown. A subject without an
            outcome is left out.
    """
    full = {**item, **outcomes}
    return Card(
        kind=kind,
        suite=visible(item["suite"]),
        title=visible(title),
        id=visible(item["id"]),
        scorer=visible(item.get("scorer") or ""),
        system=cut(item.get("system")),
        prompt=cut(item.get("prompt")),
        golden=cut(item.get("golden")),
        answers=tuple(_answer(full, key, who) for key, who in names.items() if outcomes.get(key)),
    )


def spread(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """
    Return *items* so that every beginning of the list has all suites in it, in turn.
    """
    by_suite: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        by_suite.setdefault(item["suite"], []).append(item)
    turns = zip_longest(*by_suite.values())
    return [item for turn in turns for item in turn if item is not None]


def share_out(limit: int, sizes: Sequence[int]) -> list[int]:
    """
    Return how many of each kind to show: as even as can be, *limit* in all, none beyond its size.
    """
    taken = [0] * len(sizes)
    while limit > 0 and any(t < s for t, s in zip(taken, sizes, strict=True)):
        for i, size in enumerate(sizes):
            if taken[i] < size and limit > 0:
                taken[i] += 1
                limit -= 1
    return taken
