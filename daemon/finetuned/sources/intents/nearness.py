"""
Whether a training sentence says nearly the same as one of the test set's own.

Compares words; does not know what sentences ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from finetuned.sources.intents.grammar import GAP
from finetuned.sources.intents.tables import phrases


@cache
def _soft_words() -> frozenset[str]:
    """Return the words of politeness and the articles."""
    soft = (*phrases("opener"), *phrases("greeting"), *phrases("closer"))
    return frozenset(word for phrase in soft for word in re.findall(r"[a-z]+", phrase.lower())) | {
        "the",
        "a",
        "an",
    }


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

    soft = _soft_words()
    words = re.findall(r"\{\w+\}|[\w']+", GAP.sub(plain, phrasing).lower())
    return tuple(w for w in words if w not in soft)


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
