"""
The children of a row: drawn, proved, and counted, also those that there are not.

For every row ``times - 1`` children are wanted. Each becomes one, or a reason why not, so that
the counts add up. A child depends on the row, its line and the seed alone. Pure.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from finetuned.core.copied import CopyCheck
from finetuned.data.answer_formats import format_of
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.holdout import PromptIndex
from finetuned.data.reader import read_row
from finetuned.data.row_family import KEY, is_child, is_correction
from finetuned.errors import MalformedExample
from finetuned.sources.augment.catalog import FOR_PUZZLES
from finetuned.sources.augment.exchange import Exchange, exchange_of
from finetuned.sources.augment.facts import FileFacts
from finetuned.sources.augment.kept_out import KeptOut
from finetuned.sources.augment.puzzles import is_puzzle
from finetuned.sources.augment.transform import Transform
from finetuned.sources.augment.values import VALUES

_TRIES: Final = 4
"""Draws for one child."""
_VALUES_SHARE: Final = 0.5
"""How often values are exchanged before the wording changes, if they can be."""
_SECOND_SHARE: Final = 0.25
"""How often the wording changes in two ways."""
_RECENT: Final = 1 << 16

IS_CHILD: Final = "is_child"
HELD_OUT: Final = "held_out"
NOTHING: Final = "nothing_to_change"
REPEATS: Final = "repeats_a_row"


@dataclass(slots=True)
class Counts:
    """
    What became of all children that were wanted: wanted = made + sum of dropped.
    """

    rows: int = 0
    """Rows that were looked at."""
    wanted: int = 0
    made: int = 0
    by_transform: Counter[str] = field(default_factory=Counter)
    """Children that each transform took part in; one child may have several."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> children that there are not."""

    def as_dict(self) -> dict[str, object]:
        """
        Return the counts as JSON, the most frequent reasons first.
        """
        return {
            "rows": self.rows,
            "wanted": self.wanted,
            "made": self.made,
            "by_transform": dict(self.by_transform.most_common()),
            "dropped": dict(self.dropped.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Child:
    """
    One child.
    """

    example: Example
    transforms: tuple[str, ...]


class Known:
    """
    Prompts that there are already: 8 bytes for each.
    """

    def __init__(self, prompts: PromptIndex | None = None) -> None:
        self._index = PromptIndex() if prompts is None else prompts
        self._recent: set[int] = set()

    def add(self, prompt: int) -> None:
        """
        Add the hash of a prompt.
        """
        self._recent.add(prompt)
        if len(self._recent) >= _RECENT:
            self._index.add(np.unique(np.array(list(self._recent), dtype=np.uint64)))
            self._recent.clear()

    def __contains__(self, prompt: int) -> bool:
        one = np.array([prompt], dtype=np.uint64)
        return prompt in self._recent or bool(self._index.contains(one).any())


@dataclass(slots=True)
class ChildMaker:
    """
    Makes the children of one file's rows.
    """

    facts: FileFacts
    """Of all its rows that may have children."""
    kept_out: KeptOut
    known: Known
    """Prompts of the file; those of its children are added."""
    transforms: Sequence[Transform]
    times: int
    """Rows for each row, itself included: 2 to MOST_TIMES."""
    seed: int
    source: str
    """What the file is called in a child's metadata."""
    accepts: Callable[[Example], str | None] = lambda _: None
    """Returns why a child cannot be trained, in one word."""
    counts: Counts = field(default_factory=Counts)
    _copied: frozenset[str] | None = None

    def children(self, example: Example, line: int) -> Iterator[Child]:
        """
        Yield the children of the row in that line of the file.
        """
        self.counts.rows += 1
        self.counts.wanted += self.times - 1
        reason, exchange = self._looked_at(example)
        if exchange is None:
            self.counts.dropped[reason] += self.times - 1
            return
        for n in range(1, self.times):
            found = self._child(example, exchange, line, n)
            if isinstance(found, str):
                self.counts.dropped[found] += 1
                continue
            self.counts.made += 1
            self.counts.by_transform.update(set(found.transforms))
            self.known.add(prompt_hash(found.example))
            yield found

    def refuse(self, reason: str) -> None:
        """
        Count a row that has no children, because of what it is.
        """
        self.counts.rows += 1
        self.counts.wanted += self.times - 1
        self.counts.dropped[reason] += self.times - 1

    def _looked_at(self, example: Example) -> tuple[str, Exchange | None]:
        if is_child(example) or is_correction(example):
            return IS_CHILD, None
        if self.kept_out.holds(example) is not None:
            return HELD_OUT, None
        found = exchange_of(example)
        if isinstance(found, str):
            return found, None
        if self._copied is None:
            self._copied = self.facts.copied
        return "", self.facts.told(found, self._copied)

    def _child(self, example: Example, exchange: Exchange, line: int, n: int) -> Child | str:
        family = prompt_hash(example)
        reason = NOTHING
        for attempt in range(_TRIES):
            rng = random.Random(f"augment:{self.seed}:{family:016x}:{line}:{n}:{attempt}")
            changed, names, complaint = _changed(exchange, self.transforms, rng)
            if complaint is None and not names:
                continue
            if complaint is None:
                made = _as_example(example, changed, self._origin(family, names, line, n))
                complaint = self._complaint(example, made)
                if complaint is None:
                    return Child(made, names)
            reason = complaint
        return reason

    def _origin(self, family: int, names: tuple[str, ...], line: int, n: int) -> dict[str, object]:
        return {
            "family": f"{family:016x}",
            "transforms": list(names),
            "seed": self.seed,
            "source": self.source,
            "line": line,
            "child": n,
        }

    def _complaint(self, parent: Example, child: Example) -> str | None:
        try:
            again = read_row(as_row(child)).example
        except MalformedExample as error:
            return error.code
        if again.messages != child.messages or again.untrained != child.untrained:
            return "not_read_alike"
        if prompt_hash(child) in self.known:
            return REPEATS
        if _invents(parent) is False and _invents(child) is not False:
            return "value_invented"
        return self.kept_out.holds(child) or self.accepts(child)


def _changed(
    exchange: Exchange, transforms: Sequence[Transform], rng: random.Random
) -> tuple[Exchange, tuple[str, ...], str | None]:
    """Return what was drawn, by which transforms, and a complaint about the last step."""
    puzzle = is_puzzle(exchange.prompt)
    fitting = [t for t in transforms if (t.name in FOR_PUZZLES) == puzzle]
    wording = [t for t in fitting if t.name != VALUES.name]
    first = [t for t in fitting if t.name == VALUES.name]
    rng.shuffle(wording)
    steps = first if first and (not wording or rng.random() < _VALUES_SHARE) else []
    n_wording = 1 if puzzle or rng.random() >= _SECOND_SHARE else 2
    names: list[str] = []
    for transform in (*steps, *wording):
        if len(names) - len(steps) >= n_wording:
            break
        child = transform.draw(exchange, rng)
        if child is None or child.prompt == exchange.prompt:
            continue
        if complaint := transform.complaint(exchange, child):
            return exchange, (), f"{transform.name}_{complaint}"
        exchange = child
        names.append(transform.name)
    return exchange, tuple(names), None


def _invents(example: Example) -> bool | None:
    """Return whether the answer has values that its format says are copied, and are not."""
    try:
        wanted = format_of(example)
    except MalformedExample:
        return None
    if wanted is None or not wanted.has_copied:
        return None
    told = "\n".join(message["content"] for message in example.messages[:-1])
    check: CopyCheck | None = wanted.check_copied(example.messages[-1]["content"], told)
    return None if check is None else not check.copied


def _as_example(parent: Example, changed: Exchange, origin: dict[str, object]) -> Example:
    question, answer = parent.messages[-2:]
    messages = [
        *parent.messages[:-2],
        {**question, "content": changed.prompt},
        {**answer, "content": changed.answer},
    ]
    metadata = {**parent.metadata, KEY: origin}
    return replace(parent, format="messages", messages=messages, metadata=metadata)


def as_row(example: Example) -> dict[str, object]:
    """
    Return an example without tools as a row of the format messages.
    """
    messages: list[dict[str, object]] = [dict(message) for message in example.messages]
    for place in example.untrained:
        messages[place]["weight"] = 0
    return {"messages": messages, "metadata": example.metadata}
