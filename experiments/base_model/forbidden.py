"""
Sentences that must not be in a base model's corpus: those of the suites, and near-duplicates.

    forbidden = Forbidden.of_suites()
    if phrasing in forbidden: ...   # draw another one

Asked for about 60,000 sentences in a row; one takes some 0.05 ms. Knows the suites of
benchmarks/, the sealed one too; nothing here prints what it compares with.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from experiments.sealed_set import open_sealed
from finetuned.data.suite import suite_files
from finetuned.sources.intents.grammar import GAP
from finetuned.sources.intents.tables import phrases

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GRAM = 13
"""Words in a row that no two texts share by chance."""

_KIND_OF_KEY = {
    "zone": "zone", "target": "zone", "ip": "ip", "username": "user", "group": "group",
    "name": "share", "share": "share", "path": "path", "password_ref": "secret",
}  # fmt: skip
"""Key of an answer -> the gap that its value fills."""

_SHAPES = (
    ("secret", r"secret://[\w./-]+"),
    ("ip", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\w)"),
    ("ip", r"(?<![\w:])(?=[\da-f:]*::|(?:[\da-f]+:){7})[\da-f:]*[\da-f]+(?![\w:])"),
    ("path", r"(?<![\w./])(?:/[\w.-]*\w){2,}/?"),
    ("zone", r"(?<![\w.-])(?:\*\.)?(?:[\w-]+\.)+[a-z]{2,}(?![\w-])"),
)
_SHAPE = re.compile(
    "|".join(f"(?P<s{i}>{pattern})" for i, (_, pattern) in enumerate(_SHAPES)), re.I
)
_WORD = re.compile(r"\{\w+\}|\w+(?:'\w+)?")
_ARTICLES = frozenset(("the", "a", "an"))
_QUOTES = re.compile(r"(?<!\w)'|'(?!\w)")

Words = tuple[str, ...]


def phrasing_of(row: Mapping[str, Any]) -> str:
    """
    Return the prompt of a suite's row with its values replaced by gaps such as ``{zone}``.

    They are taken from the row's ``metadata.phrasing``, else from its answer; what has the
    shape of a name or address becomes a gap in either case, see ``with_gaps``.
    """
    metadata = row.get("metadata")
    known = metadata.get("phrasing") if isinstance(metadata, dict) else None
    if isinstance(known, str):
        return known
    turns = row.get("messages") or [
        {"role": "user", "content": row.get("prompt")},
        {"role": "assistant", "content": row.get("completion") or row.get("expected")},
    ]
    prompt = "\n".join(str(t["content"]) for t in turns if t["role"] == "user")
    try:
        answer = orjson.loads(str(turns[-1]["content"]))
    except orjson.JSONDecodeError:
        return prompt
    values = dict(_values(answer))
    if not values:
        return prompt
    longest_first = "|".join(re.escape(v) for v in sorted(values, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", lambda m: f"{{{values[m[0]]}}}", prompt)


def _values(answer: object) -> Iterator[tuple[str, str]]:
    """Yield value and kind of everything that an answer names."""
    if isinstance(answer, list):
        for part in answer:
            yield from _values(part)
    elif isinstance(answer, dict):
        for key, value in answer.items():
            if isinstance(value, str) and key in _KIND_OF_KEY:
                yield value, _KIND_OF_KEY[key]
            elif not isinstance(value, str):
                yield from _values(value)


def with_gaps(text: str) -> str:
    """
    Replace what has the shape of a host, an address, a path or a secret by its gap.

    Gaps of one kind (zone, wild and target; ip, ip4 and ip6; with a number or without) become
    equal. Names of users, groups and shares have no shape: a caller leaves their gaps open.
    """
    opened = _SHAPE.sub(lambda m: f"{{{_SHAPES[int(str(m.lastgroup)[1:])][0]}}}", text)
    return _QUOTES.sub(" ", GAP.sub(_of_one_kind, opened))


def _of_one_kind(gap: re.Match[str]) -> str:
    kind = gap.group(1).rstrip("0123456789")
    return f"{{{'zone' if kind in ('wild', 'target') else kind}}}"


def key_of(opened: str) -> Words:
    """
    Return the words of a text whose gaps are open, without articles and politeness around it.
    """
    words = _words(opened)
    begin, end = 0, len(words)
    while (polite := _length_of(words[begin:end], "begin")) and polite < end - begin:
        begin += polite
    while (polite := _length_of(words[begin:end][::-1], "end")) and polite < end - begin:
        end -= polite
    return words[begin:end]


def _words(opened: str) -> Words:
    return tuple(w for w in _WORD.findall(opened.lower()) if w not in _ARTICLES)


def _length_of(words: Words, where: str) -> int:
    """Return how many of the first *words* are politeness, read backwards at an end."""
    known = _politeness(where).get(words[0], ()) if words else ()
    return max((len(p) for p in known if words[: len(p)] == p), default=0)


@cache
def _politeness(where: str) -> Mapping[str, list[Words]]:
    """Return what people say before a request or after it, by its outermost word."""
    kinds = ("closer",) if where == "end" else ("opener", "greeting")
    found: dict[str, list[Words]] = defaultdict(list)
    for phrase in {p for kind in kinds for p in phrases(kind)}:
        words = tuple(_WORD.findall(phrase.lower()))
        words = words[::-1] if where == "end" else words
        found[words[0]].append(words)
    return found


def allowed_edits(n: int) -> int:
    """
    Return how many words may differ from a sentence of *n* words that is still a near-duplicate.

    None of up to three words: in "{user} -> {group}", any other word is another sentence.
    """
    return 0 if n < 4 else max(1, n // 5)


def distance(one: Words, other: Words, most: int) -> int:
    """
    Return how many words must be added, left out or exchanged; more than *most* is ``most + 1``.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            above, row[j] = row[j], min(above + (a != b), row[j] + 1, row[j - 1] + 1)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


class Forbidden:
    """
    Texts that share 13 words in a row with one of some phrasings, or are a near-duplicate of one.

    A near-duplicate differs in one word, or in a fifth of the words of a longer phrasing; a
    phrasing of up to three words has none but itself. Case, punctuation, articles, values, and
    politeness at the beginning or end do not count.
    """

    def __init__(self, phrasings: Iterable[str]) -> None:
        opened = [with_gaps(p) for p in phrasings]
        self._grams = {gram for text in opened for gram in _grams(text)}
        keys = sorted({key for text in opened for key in (key_of(text), _words(text))} - {()})
        often = Counter(word for key in keys for word in set(key))
        self._by_rare: dict[str, list[tuple[Words, frozenset[str], int]]] = defaultdict(list)
        for key in keys:
            edits = allowed_edits(len(key))
            # With so few edits one of these words is in every near-duplicate.
            for word in sorted(set(key), key=lambda w: (often[w], w))[: edits + 1]:
                self._by_rare[word].append((key, frozenset(key), edits))

    @classmethod
    def of_suites(cls, folder: Path = BENCHMARKS) -> Forbidden:
        """
        Return what the suites of *folder* say, the sealed one among them.

        Raises:
            SealBroken: The sealed suite is not the one that was sealed.
        """
        return cls(phrasings_of_suites(folder))

    def __contains__(self, text: str) -> bool:
        """
        Tell whether *text*, a phrasing with open gaps or a filled prompt, must not be used.
        """
        opened = with_gaps(text)
        return (
            any(gram in self._grams for gram in _grams(opened))
            or self._is_near(key_of(opened))
            # One word can make a politeness of what is none: "I want {user} to" is the beginning.
            or self._is_near(_words(opened))
        )

    def _is_near(self, key: Words) -> bool:
        words = set(key)
        for word in words:
            for other, others, edits in self._by_rare.get(word, ()):
                if (
                    abs(len(other) - len(key)) <= edits
                    and len(others - words) <= edits
                    and len(words - others) <= edits
                    and distance(other, key, edits) <= edits
                ):
                    return True
        return False


def phrasings_of_suites(folder: Path = BENCHMARKS) -> list[str]:
    """
    Return the phrasing of every item of the suites in *folder* and its subfolders, the sealed too.

    Raises:
        SealBroken: As Forbidden.of_suites.
    """
    folders = (folder, folder / "examples", folder / "domains")
    files = [path for one in folders for path in suite_files(one)]
    texts = [path.read_bytes() for path in files]
    texts.append(open_sealed(folder / "sealed").data)
    rows = [orjson.loads(line) for text in texts for line in text.splitlines() if line.strip()]
    return [phrasing_of(row) for row in rows]


def _grams(opened: str) -> Iterator[Words]:
    words = _WORD.findall(opened.lower())
    return (tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1))
