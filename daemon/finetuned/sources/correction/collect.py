"""
Trained rows asked until enough answers are wrong, and the rows that are made of those answers.

Who asks is handed in; does not know models, nor where the rows go. Every row that was looked at is
counted under one word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from finetuned.core.answer import final_answer
from finetuned.core.mistakes import mistakes_of
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.row_family import is_correction
from finetuned.data.suite import Question
from finetuned.errors import MalformedExample
from finetuned.sources.augment.children import as_row
from finetuned.sources.augment.exchange import exchange_of
from finetuned.sources.augment.kept_out import KeptOut
from finetuned.sources.correction.forms import FORMS, Wrong, rows_of
from finetuned.sources.correction.trained_rows import DrawnRows, TrainedRow

TOGETHER: Final = 64
"""Rows that are asked before it is looked whether enough answers are wrong."""
ASKED_FOR_EACH: Final = 10
"""Most rows that are asked for each row that may be made."""

CORRECTION: Final = "is_correction"
HELD_OUT: Final = "held_out"
REPEATED: Final = "repeated"
NO_TIME: Final = "no_time"
CHANGED: Final = "changed_since"
"""Why a row was not asked, beside the words of augment.exchange and the codes of rows."""


@dataclass(frozen=True, slots=True)
class Answered:
    """
    What a model made of one question.
    """

    id: str
    """Of the question."""
    answer: str
    """Without reasoning."""
    correct: bool
    """Marked as held-out rows are."""
    answer_tokens: int
    expected_tokens: int


Ask = Callable[[Sequence[Question]], Iterable[Answered]]
"""Asks some questions; what there was no time for is left out."""


@dataclass(slots=True)
class Counts:
    """
    What became of all rows that were looked at: looked_at = right + wrong + sum of not_asked.
    """

    looked_at: int = 0
    right: int = 0
    wrong: int = 0
    not_asked: Counter[str] = field(default_factory=Counter)
    """By reason."""
    codes: Counter[str] = field(default_factory=Counter)
    """Wrong answers by code, its number left open."""
    made: Counter[str] = field(default_factory=Counter)
    """Rows by form."""
    not_made: Counter[str] = field(default_factory=Counter)
    """By form and reason."""

    def as_dict(self) -> dict[str, object]:
        """
        Return the counts as JSON, the most frequent first.
        """
        return {
            "looked_at": self.looked_at,
            "right": self.right,
            "wrong": self.wrong,
            "not_asked": dict(self.not_asked.most_common()),
            "codes": dict(self.codes.most_common()),
            "made": dict(self.made.most_common()),
            "not_made": dict(self.not_made.most_common()),
        }


@dataclass(frozen=True, slots=True)
class Collected:
    """
    The rows that were made, and what became of those that were asked.
    """

    rows: tuple[dict[str, object], ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Collector:
    """
    Asks, and makes rows of what is answered wrong.
    """

    ask: Ask
    golden: Callable[[Example], str]
    """The right answer as the model must write it; raises MalformedExample for an example
    that it cannot be asked."""
    refusal: Callable[[Example], str | None]
    """Returns why an example cannot be trained, in one word."""
    kept_out: KeptOut
    """What suites and held-out rows ask."""
    model: str
    """What people call the model that is asked."""
    max_examples: int
    """Most rows that are made, >= len(FORMS)."""

    def collect(self, drawn: DrawnRows) -> Collected:
        """
        Ask the rows in their order until the rows that were made are as many as they may be.
        """
        rows, counts = drawn.rows, Counts(looked_at=drawn.n_changed)
        if drawn.n_changed:
            counts.not_asked[CHANGED] = drawn.n_changed
        made: list[dict[str, object]] = []
        known: set[int] = set()
        for start in range(0, len(rows), TOGETHER):
            if len(made) + len(FORMS) > self.max_examples:
                break
            for wrong in self._wrong(rows[start : start + TOGETHER], known, counts):
                if len(made) + len(FORMS) <= self.max_examples:
                    made += self._made(wrong, counts)
        return Collected(tuple(made), counts)

    def _wrong(self, rows: Sequence[TrainedRow], known: set[int], counts: Counts) -> list[Wrong]:
        """Ask some rows; return those that were answered wrong, in their order."""
        asked: dict[str, tuple[TrainedRow, Question]] = {}
        for number, row in enumerate(rows):
            counts.looked_at += 1
            found = self._question(str(number), row.example, known)
            if isinstance(found, str):
                counts.not_asked[found] += 1
            else:
                asked[found.id] = (row, found)
        answers = {a.id: a for a in self.ask([question for _, question in asked.values()])}
        wrong = []
        for name, (row, question) in asked.items():
            if (answered := answers.get(name)) is None:
                counts.not_asked[NO_TIME] += 1
                continue
            mistakes = mistakes_of(
                answered.answer,
                final_answer(question.golden or ""),
                answer_tokens=answered.answer_tokens,
                expected_tokens=answered.expected_tokens,
            )
            if answered.correct or not mistakes:
                counts.right += 1
                continue
            counts.wrong += 1
            counts.codes.update(mistake.code.value for mistake in mistakes)
            wrong.append(
                Wrong(row.example, answered.answer, mistakes, row.source, row.line, self.model)
            )
        return wrong

    def _question(self, name: str, example: Example, known: set[int]) -> Question | str:
        """Return a row as a question, or why it is not asked."""
        if is_correction(example):
            return CORRECTION
        if isinstance(found := exchange_of(example), str):
            return found
        if self.kept_out.holds(example) == "equals_held_out":
            return HELD_OUT
        if (prompt := prompt_hash(example)) in known:
            return REPEATED
        known.add(prompt)
        try:
            golden = self.golden(example)
        except MalformedExample as error:
            return error.code
        systems = [m["content"] for m in example.messages if m["role"] == "system"]
        return Question(name, example, systems[0] if systems else "", found.prompt, golden)

    def _made(self, wrong: Wrong, counts: Counts) -> list[dict[str, object]]:
        made = []
        for form, found in rows_of(wrong):
            why = found if isinstance(found, str) else self.refusal(found)
            if isinstance(found, str) or why is not None:
                counts.not_made[f"{form}_{why}"] += 1
                continue
            counts.made[form] += 1
            made.append(as_row(found))
        return made
