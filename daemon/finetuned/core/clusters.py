"""
Which items of an evaluation are nearly the same question: made from one template, or reworded.

Such items are answered well or badly together, so that the gate counts them as one cluster.
What is looked at is the wording: pairs of neighbouring words of prompt and answer, in
which whatever fills a slot (numbers, names with a digit or a dot, words copied into
the answer, words that no other item has) is replaced by a placeholder. Two items are alike if
they share half of their pairs; whatever is alike to one item of a cluster belongs to it.

What most items share (an instruction before each row) tells no two of them apart and is left
out. A cluster of more than a quarter of all items is no family among many but what the
items are about: there only near-duplicates, by their words as they are, stay together.

The partition does not depend on the order of the items. Time is about n log n; a set of items
that share nothing but frequent words takes longer (1,000 items: below a second).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from zlib import crc32

_WORD: Final = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:[._:/@\\-]+[^\W_]+)*"
)
"""A word with its inner punctuation, such as a host name, or one East Asian character."""

Words = tuple[tuple[str, ...], tuple[str, ...]]
"""The words of a prompt and of its answer."""

_SLOT: Final = "*"
_MOST: Final = 256
"""Pairs that are looked at of one item, at most."""
_ALIKE: Final = 0.5
"""Share of their pairs (Jaccard) from which on two items are alike."""
_NEAR: Final = 0.8
"""The same by the words as they are, within a template that most items share."""
_LARGEST: Final = 0.25
"""Share of all items above which a cluster is divided."""


@dataclass(frozen=True, slots=True)
class ItemText:
    """
    What is asked, and what is expected.
    """

    prompt: str
    answer: str = ""


def cluster_items(items: Sequence[ItemText]) -> list[int]:
    """
    Return the cluster of each item, numbered from 0 in the order of their first items.
    """
    texts = [_words(item) for item in items]
    words = list(dict.fromkeys(texts))  # what is asked twice is one item, whatever is common
    clusters = _alike([_pairs(w) for w in _without_slots(words)], _ALIKE)
    sizes = Counter(clusters)
    large = [i for i, c in enumerate(clusters) if sizes[c] > _LARGEST * len(words)]
    within = _alike([_pairs(words[i]) for i in large], _NEAR)
    for i, cluster in zip(large, within, strict=True):
        clusters[i] = len(words) + cluster
    found = dict(zip(words, clusters, strict=True))
    number: dict[int, int] = {}
    return [number.setdefault(found[text], len(number)) for text in texts]


def _words(item: ItemText) -> Words:
    """Return the words of prompt and answer, in lower case."""
    return (
        tuple(_WORD.findall(item.prompt.lower())),
        tuple(_WORD.findall(item.answer.lower())),
    )


def _without_slots(items: Sequence[Words]) -> list[Words]:
    """Return the words of each item, with a placeholder for each that fills a slot."""
    used = Counter(word for prompt, answer in items for word in {*prompt, *answer})

    def kept(words: Iterable[str], other: set[str]) -> tuple[str, ...]:
        return tuple(
            _SLOT if word in other or used[word] == 1 or not word.isalpha() else word
            for word in words
        )

    return [(kept(p, set(a)), kept(a, set(p))) for p, a in items]


def _pairs(words: Words) -> frozenset[str]:
    """Return the pairs of neighbouring words of prompt and of answer, told apart, at most _MOST."""
    found = {
        f"{part} {first} {second}"
        for part, text in zip("?!", words, strict=True)
        for first, second in pairwise(("", *text, ""))
        if {first, second} - {"", _SLOT}  # two placeholders are no wording
    }
    if len(found) > _MOST:  # the same sample of the same pairs in every text
        found = set(sorted(found, key=lambda pair: (crc32(pair.encode()), pair))[:_MOST])
    return frozenset(found)


def _alike(sets: Sequence[frozenset[str]], least: float) -> list[int]:
    """
    Return for each set the number of the group that it is linked to by likeness.

    Features of more than half of the sets are left out; a set of which nothing is left is alone.
    Two sets whose Jaccard index is *least* or more share one of the first features of
    both, in order of rarity (Chaudhuri, Ganti and Kaushik, ICDE 2006): only such are compared.
    """
    used = Counter(feature for found in sets for feature in found)
    rank = {f: i for i, (f, n) in enumerate(sorted(used.items(), key=lambda x: (x[1], x[0])))}
    common = {f for f, n in used.items() if n > len(sets) / 2}
    group = list(range(len(sets)))
    first: dict[frozenset[int], int] = {}
    seen: dict[int, list[frozenset[int]]] = {}
    for i, found in enumerate(sets):
        one = frozenset(rank[f] for f in found - common)
        if not one:
            continue
        if one in first:
            _join(group, i, first[one])
            continue
        first[one] = i
        prefix = sorted(one)[: len(one) - math.ceil(least * len(one)) + 1]
        near = {other for feature in prefix for other in seen.get(feature, ())}
        for other in near:
            if len(one & other) >= least * len(one | other):
                _join(group, i, first[other])
        for feature in prefix:
            seen.setdefault(feature, []).append(one)
    return [_root(group, i) for i in range(len(sets))]


def _root(group: list[int], i: int) -> int:
    while group[i] != i:
        group[i] = group[group[i]]
        i = group[i]
    return i


def _join(group: list[int], one: int, other: int) -> None:
    group[_root(group, one)] = _root(group, other)
