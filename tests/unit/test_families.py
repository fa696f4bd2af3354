"""
Which files are of one kind, told from their tokens.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from finetuned.data.families import (
    ALIKE,
    MAX_FILES,
    MIN_ROWS,
    Look,
    Row,
    families,
    likeness,
    look,
    of_one_kind,
)
from finetuned.sources.intents import training_rows

GROUPS = ("dns", "users", "samba")
STARTS, ENDS = ("lu", "mar", "ing", "tom", "ker", "wal"), ("a", "co", "rid", "mas", "tin", "do")
NAMES = [a + b + c for a in STARTS for b in ENDS for c in ENDS]


def as_row(prompt: str, answer: str) -> Row:
    """
    Return bytes as tokens; the answer is supervised.
    """
    text = np.frombuffer((prompt + answer).encode(), np.uint8).astype(np.int64)
    return text, np.arange(len(text)) >= len(prompt.encode())


def rows_of(group: str) -> list[Row]:
    found = [r["messages"] for r in training_rows(0) if r["metadata"]["class"] == group]
    return [as_row(m[0]["content"], m[-1]["content"]) for m in found[:400]]


@pytest.fixture(scope="module")
def commands() -> dict[str, list[Row]]:
    return {group: rows_of(group) for group in GROUPS}


@pytest.mark.parametrize("n", [16, 40, 100])
def test_parts_of_one_file_are_of_one_kind(commands: dict[str, list[Row]], n: int) -> None:
    """
    Ten files of one domain are one family, however few rows each has.
    """
    mixed = [row for group in GROUPS for row in commands[group]]
    random.Random(1).shuffle(mixed)
    looks = {f"{i:02d}": look(mixed[i * n : (i + 1) * n]) for i in range(10)}

    assert [sorted(looks)] == [sorted(family) for family in families(looks)]


def test_files_of_unlike_tasks_are_not(commands: dict[str, list[Row]]) -> None:
    """
    Though all three answer with the same JSON keys.
    """
    looks = {group: look(rows) for group, rows in commands.items()}

    assert [[group] for group in sorted(GROUPS)] == sorted(families(looks))
    assert all(likeness(looks[a], looks[b]) < 0.85 for a in GROUPS for b in GROUPS if a != b)


def test_the_same_questions_with_other_answers_are_another_kind(
    commands: dict[str, list[Row]],
) -> None:
    """
    And the same answers to other questions.
    """
    text = [("Please add the user " + name, '{"user":"' + name + '"}') for name in NAMES]
    random.Random(0).shuffle(text)
    rows = [as_row(*pair) for pair in text]
    other_answer = [as_row(prompt, "Done, it is there now.") for prompt, _ in text]
    other_question = [as_row("Wer fehlt hier noch? " + a, a) for _, a in text]

    assert of_one_kind(look(rows[::2]), look(rows[1::2]))
    assert not of_one_kind(look(rows), look(other_answer))
    assert not of_one_kind(look(rows), look(other_question))


def test_a_look_is_the_same_at_any_time(commands: dict[str, list[Row]]) -> None:
    """
    It depends on the rows alone, and the first of two equals is like the second.
    """
    first, again = look(commands["dns"]), look(list(commands["dns"]))

    assert np.array_equal(first.halves, again.halves)
    assert likeness(first, again) == likeness(again, first) >= ALIKE


def test_of_too_few_rows_nothing_is_told() -> None:
    """
    Such files are one family, as is what is beyond the most files that are compared.
    """
    row = as_row("a question", "an answer")
    few, many = look([row] * (MIN_ROWS - 1)), look([row] * MIN_ROWS)
    empty = Look(np.zeros_like(few.halves), 0)

    assert not of_one_kind(few, many)
    assert [["b"], ["a", "c", "d"]] == families({"a": few, "b": many, "c": few, "d": empty})
    assert {} == dict(families({}))
    found = families({f"{i:04d}": many for i in range(MAX_FILES + 5)})
    assert [MAX_FILES, 5] == [len(family) for family in found]
