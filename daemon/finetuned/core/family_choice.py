"""
Which family of files a question belongs to: the one whose prompts are nearest by their words.

A family is known by its profile: how often its prompts have each word and each sequence of
three and four characters, hashed. A part that most families have says little, one that a
single family has says much (tf-idf, every family counted alike however many prompts it has);
nearest is the largest cosine. Measured by experiments/replay_routing.py.

Does not know files, tokens or models, and needs no numpy: the command line uses it too.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

BINS: Final = 1 << 14
"""Words and sequences of characters are counted in so many bins."""

MAX_CHARACTERS: Final = 4096
"""As many characters of a text are looked at, from its beginning."""

_SEQUENCES: Final = (3, 4)


@dataclass(frozen=True, slots=True)
class Profile:
    """
    What the prompts of a family look like together.
    """

    prompts: int
    """How many were looked at, >= 0."""
    having: Mapping[int, int]
    """Bin -> prompts that have it, 1 to ``prompts``."""
    sums: Mapping[int, float]
    """Bin -> sum of its share in each prompt, > 0; a prompt is a vector of length 1."""


def bag(text: str) -> dict[int, float]:
    """
    Return the words and sequences of *text* as a vector: log(1 + count) of each bin it has.
    """
    lowered = f" {text[:MAX_CHARACTERS].lower()} "
    parts = [lowered[i : i + n] for n in _SEQUENCES for i in range(len(lowered) - n + 1)]
    parts += [f"w:{word}" for word in lowered.split()]
    counts = Counter(zlib.crc32(part.encode("utf-8", "replace")) % BINS for part in parts)
    return {place: math.log1p(count) for place, count in counts.items()}


def last_user_text(messages: Sequence[Mapping[str, object]]) -> str:
    """
    Return what the user says last in *messages*; empty if no user says anything.
    """
    said = [m.get("content") for m in messages if m.get("role") == "user"]
    return said[-1] if said and isinstance(said[-1], str) else ""


def profile(prompts: Iterable[str]) -> Profile:
    """
    Return the profile of *prompts*; one without a word counts and has no bin.
    """
    having, sums, n = Counter[int](), dict[int, float](), 0
    for prompt in prompts:
        vector, n = bag(prompt), n + 1
        length = _length(vector.values())
        having.update(vector.keys())
        for place, value in vector.items():
            sums[place] = sums.get(place, 0.0) + value / length
    return Profile(n, having, sums)


class FamilyChoice:
    """
    Families to choose from.
    """

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        """
        Args:
            profiles: By family, at least one.
        """
        if not profiles:
            raise ValueError("there is no family to choose from")
        # The order decides for a question of which nothing is known: the largest family.
        order = sorted(profiles, key=lambda name: (-profiles[name].prompts, name))
        rarity = _rarity([p for p in profiles.values() if p.prompts])
        self._weights = {name: _weights(profiles[name], rarity) for name in order}

    def choose(self, text: str) -> str:
        """
        Return the family whose prompts are nearest to *text*.
        """
        if len(self._weights) == 1:
            return next(iter(self._weights))
        vector = bag(text)
        return max(
            self._weights,
            key=lambda name: sum(
                value * self._weights[name].get(place, 0.0) for place, value in vector.items()
            ),
        )


def _rarity(profiles: list[Profile]) -> dict[int, float]:
    """Return how rare each bin is: -log of the mean share of a family's prompts, >= 0."""
    shares = dict[int, float]()
    for one in profiles:
        for place, n in one.having.items():
            shares[place] = shares.get(place, 0.0) + n / one.prompts
    return {place: max(0.0, -math.log(s / len(profiles))) for place, s in shares.items()}


def _weights(one: Profile, rarity: Mapping[int, float]) -> dict[int, float]:
    """Return what each bin of a question counts for this family: its product is the cosine."""
    centroid = {place: value * rarity[place] for place, value in one.sums.items()}
    length = _length(centroid.values())
    return {p: value * rarity[p] / length for p, value in centroid.items() if value > 0}


def _length(values: Iterable[float]) -> float:
    """Return the length of a vector; 1 for a vector of zeros, which is divided by it."""
    return math.sqrt(sum(value * value for value in values)) or 1.0
