"""
What the rows of a file show together: its usual words, and which fields of answers are copies.

A field is a copy if its value stood in the prompt in every row that has it, and if it had several
values. If an answer also holds what seems to be computed from the prompt (a number or a truth
value that is no copy and not always the same), nothing may be exchanged in the file: the answer
to "is 10.0.0.5 in 10.0.0.0/24" is not the same for another address. Pure; memory is bounded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Final

from finetuned.core.scoring.json_values import NOT_JSON, parse_json
from finetuned.sources.augment.exchange import (
    Exchange,
    instruction_end,
    leaves,
    occurrences,
    words_of,
)

COMMON_ROWS: Final = 3
"""A word of so many rows, and of COMMON_SHARE of all, belongs to the file's way of asking."""
COMMON_SHARE: Final = 0.02

COPIED_ROWS: Final = 8
"""So many rows must have a field before it counts as a copy."""
_SEVERAL: Final = 4
"""So many different values must a copied field have had; fewer are a choice, not a name."""
_MOST_WORDS: Final = 200_000
_MOST_FIELDS: Final = 2_000

_Leaf = str | int | float | bool | None


@dataclass(slots=True)
class _Field:
    rows: int = 0
    copied: int = 0
    values: set[_Leaf] = field(default_factory=set)
    is_text: bool = True


class FileFacts:
    """
    Takes the exchanges of a file one by one; complete after the last.
    """

    def __init__(self) -> None:
        self._n = 0
        self._words: Counter[str] = Counter()
        self._fields: dict[str, _Field] = {}
        self._common: frozenset[str] | None = None

    def add(self, exchange: Exchange) -> None:
        """
        Look at one more exchange.
        """
        self._n += 1
        self._common = None
        said = exchange.prompt[: instruction_end(exchange.prompt)]
        for word in {word.casefold() for word in words_of(said)}:
            if word in self._words or len(self._words) < _MOST_WORDS:
                self._words[word] += 1
        parsed = parse_json(exchange.answer)
        if parsed is NOT_JSON or not isinstance(parsed, dict):
            return
        for path, value in leaves(parsed):
            if path not in self._fields and len(self._fields) >= _MOST_FIELDS:
                continue
            self._look(self._fields.setdefault(path, _Field()), value, exchange.prompt)

    @staticmethod
    def _look(found: _Field, value: _Leaf, prompt: str) -> None:
        found.rows += 1
        if len(found.values) < _SEVERAL:
            found.values.add(value)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            found.is_text = False
            return
        found.is_text = found.is_text and isinstance(value, str)
        found.copied += occurrences(str(value), prompt) > 0

    @property
    def common(self) -> frozenset[str]:
        """Words, in small letters, that many rows have."""
        if self._common is None:
            least = max(COMMON_ROWS, round(COMMON_SHARE * self._n))
            self._common = frozenset(word for word, n in self._words.items() if n >= least)
        return self._common

    @property
    def copied(self) -> frozenset[str]:
        """Paths of answers whose values are copies; none if an answer seems computed."""
        computed = any(
            not f.is_text and f.copied < f.rows and len(f.values) > 1 for f in self._fields.values()
        )
        if computed:
            return frozenset()
        return frozenset(
            path
            for path, f in self._fields.items()
            if f.copied == f.rows >= COPIED_ROWS and len(f.values) >= _SEVERAL
        )

    def told(self, exchange: Exchange, copied: frozenset[str] | None = None) -> Exchange:
        """
        Return the exchange with what the file shows about it.

        Args:
            exchange: Of this file.
            copied: ``self.copied``, for those who ask often.
        """
        copied = self.copied if copied is None else copied
        parsed = parse_json(exchange.answer) if copied else NOT_JSON
        values: dict[str, None] = {}
        if isinstance(parsed, dict):
            for path, value in leaves(parsed):
                if path in copied and occurrences(str(value), exchange.prompt):
                    values[str(value)] = None
        return replace(exchange, common=self.common, values=tuple(values))
