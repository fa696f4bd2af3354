"""
A tokenizer without merges written as merges, for engines that cut text in ways of their own.

Such a tokenizer (the embedded base's is one) cuts text by an expression of its own; a piece that
is in the vocabulary is one token, any other is spelled in single characters. llama.cpp takes no
expression from a file. Of the ways that it knows, the one of Llama 3 cuts words with the
space or sign before them, takes a piece that is in the vocabulary whole, and joins the
characters of any other by merges. A symbol that merges make and the vocabulary does not
have is spelled in characters again. So merges are learnt here

* which join every word of the vocabulary, however it is cut from what stands before it; and
* which then join words inside of longer, unknown words with their neighbours, to symbols that no
  vocabulary has: those are spelled, as the tokenizer spells them.

The second kind cannot be complete: no finite set of merges spells every unknown word. Pure.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

Merge = tuple[str, str]

COMMON: Final = "eeeeeetttttaaaaaooooiiiinnnnsssshhhrrrddlllcuumwfgypbvkjxqz"
"""Letters, about as often as English words have them."""

_VARIANTS: Final = 60
"""Unknown words that are made around each known one."""

_RANDOM_WORDS: Final = 40_000
_ROUNDS: Final = 40


def merges_of(
    words: Collection[str],
    seen: Iterable[str] = (),
    *,
    letters: str = COMMON,
    is_spelled: Callable[[str], bool] = lambda word: True,
) -> list[Merge]:
    """
    Return merges, first one first, that join each of *words* and spell words that are not.

    Args:
        words: The words of the vocabulary, of two letters or more.
        seen: Words that occur in texts; those that are not in *words* will be spelled.
        letters: What unknown words are made up of.
        is_spelled: Whether the tokenizer spells a word that is not in *words*.
    """
    ranks = _joining(sorted(words))
    known = frozenset(words)
    made_up = set(_made_up(sorted(words), letters))
    unknown = [word for word in sorted((set(seen) | made_up) - known) if is_spelled(word)]
    for _ in range(_ROUNDS):
        wrong = [cut for word in unknown if not known.isdisjoint(cut := cut_by(word, ranks))]
        if not wrong:
            break
        for cut in wrong:
            for pair in pairwise(cut):
                if pair[0] in known or pair[1] in known:
                    ranks.setdefault(pair, len(ranks))
        unknown = ["".join(cut) for cut in wrong]
    return list(ranks)


def cut_by(word: str, ranks: Mapping[Merge, int]) -> list[str]:
    """
    Return the symbols that merges make of a word: of all pairs the one of least rank is joined.
    """
    symbols = list(word)
    while len(symbols) > 1:
        best, at = None, 0
        for i, pair in enumerate(pairwise(symbols)):
            rank = ranks.get(pair)
            if rank is not None and (best is None or rank < best):
                best, at = rank, i
        if best is None:
            break
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return symbols


def _joining(words: Sequence[str]) -> dict[Merge, int]:
    """Return merges that make each word one symbol: byte-pair encoding, learnt to its end."""
    symbols = [list(word) for word in words]
    counts: Counter[Merge] = Counter()
    places: dict[Merge, set[int]] = defaultdict(set)
    for i, cut in enumerate(symbols):
        _note(cut, i, counts, places)
    ranks: dict[Merge, int] = {}
    while counts:
        best = max(counts, key=lambda pair: (counts[pair], pair))
        ranks[best] = len(ranks)
        for i in places.pop(best):
            for pair in pairwise(symbols[i]):
                counts[pair] -= 1
                if counts[pair] <= 0:
                    del counts[pair]
            symbols[i] = _joined(symbols[i], best)
            _note(symbols[i], i, counts, places)
    return ranks


def _note(
    cut: Sequence[str], place: int, counts: Counter[Merge], places: dict[Merge, set[int]]
) -> None:
    for pair in pairwise(cut):
        counts[pair] += 1
        places[pair].add(place)


def _joined(cut: Sequence[str], pair: Merge) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(cut):
        if tuple(cut[i : i + 2]) == pair:
            out.append(cut[i] + cut[i + 1])
            i += 2
        else:
            out.append(cut[i])
            i += 1
    return out


def _made_up(words: Sequence[str], alphabet: str) -> list[str]:
    """Return words that hardly any vocabulary has, the same at every call."""
    rng = random.Random(0)

    def letters(least: int, most: int) -> str:
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(least, most)))

    around = [letters(0, 4) + word + letters(0, 4) for word in words for _ in range(_VARIANTS)]
    return around + [letters(2, 11) for _ in range(_RANDOM_WORDS)]
