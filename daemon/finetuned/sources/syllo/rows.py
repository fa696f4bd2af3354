"""
Puzzles drawn from a seed: rows to train on, and the fixed benchmarks.

Knows how puzzles of a difficulty are put together; does not know what a model
makes of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from finetuned.errors import DatasetError
from finetuned.sources.syllo.forms import FORMS
from finetuned.sources.syllo.puzzle import (
    LEVELS,
    SYSTEM,
    Level,
    Puzzle,
    answer_of,
    prompt_of,
    spellings,
)
from finetuned.sources.syllo.words import Word, words

Row = dict[str, Any]

TEST_ROWS = 100
"""Items of each benchmark."""


def training_rows(
    seed: int = 0, n: int = 2000, difficulty: str | None = None, *, tries: int = 200
) -> list[Row]:
    """
    Generate puzzles from the words of training.

    Args:
        seed: Every seed gives other rows; the same seed the same ones.
        n: Rows wanted.
        difficulty: A name of ``LEVELS``; None for all of them in turn.
        tries: Draws allowed for each row before the words are called exhausted.

    Returns:
        *n* rows ``{"messages", "metadata"}``, no two of which hide the same words.

    Raises:
        ValueError: There is no such difficulty.
        DatasetError: There are not *n* different puzzles; nothing was written.
    """
    rng = random.Random(f"syllo:train:{seed}:{difficulty}")
    levels = list(LEVELS.values()) if difficulty is None else [_level(difficulty)]
    found = _puzzles(rng, words(heldout=False), levels, prefix="syllo_ft_", tries=tries)
    return [_row(puzzle) for puzzle in islice(found, n)]


def test_rows(difficulty: str) -> list[Row]:
    """
    Generate a fixed benchmark, from words that no training row asks for.

    Args:
        difficulty: A name of ``LEVELS``.

    Returns:
        ``TEST_ROWS`` items with ``id`` and ``scorer``, always the same.

    Raises:
        ValueError: There is no such difficulty.
    """
    rng = random.Random(f"syllo:test:{difficulty}")
    level, prefix = _level(difficulty), f"syllo_ft_{difficulty}_"
    found = _puzzles(rng, words(heldout=True), [level], prefix=prefix, tries=200)
    return [
        {"id": puzzle.id, "scorer": "json", **_row(puzzle)} for puzzle in islice(found, TEST_ROWS)
    ]


def _level(name: str) -> Level:
    if name not in LEVELS:
        raise ValueError(f"no difficulty {name!r}; there are {', '.join(LEVELS)}")
    return LEVELS[name]


def _puzzles(
    rng: random.Random, pool: Sequence[Word], levels: Sequence[Level], *, prefix: str, tries: int
) -> Iterator[Puzzle]:
    seen: set[frozenset[str]] = set()
    for number, level in enumerate(cycle(levels), start=1):
        for _ in range(tries):
            puzzle = draw_puzzle(rng, pool, level, f"{prefix}{number:05d}")
            if puzzle is not None and (key := frozenset(w.text for w in puzzle.words)) not in seen:
                seen.add(key)
                yield puzzle
                break
        else:
            raise DatasetError(f"{level.name}: {tries} draws gave no puzzle after {number - 1}")


def draw_puzzle(
    rng: random.Random, pool: Sequence[Word], level: Level, puzzle_id: str
) -> Puzzle | None:
    """
    Draw one puzzle of *level* with words of *pool*.

    Returns:
        A puzzle with exactly one solution, or None if this draw gave none.
    """
    hidden = _hidden(rng, pool, level)
    tiles = [tile for word in hidden for tile in word.syllables]
    low, high = level.repeats
    if not low <= len(tiles) - len(set(tiles)) <= high:
        return None
    count = rng.randint(*level.herrings)
    candidates = _herrings(pool, hidden, tempting=level.tempting)
    if len(candidates) < count:
        return None
    bank = tiles + rng.sample(candidates, count)
    rng.shuffle(bank)
    if any(len(spellings(word, bank)) != 1 for word in hidden):
        return None
    return Puzzle(puzzle_id, level, tuple(hidden), tuple(bank), rng.choice(FORMS))


def _hidden(rng: random.Random, pool: Sequence[Word], level: Level) -> list[Word]:
    """Return words that share as many syllables as were drawn, or nearly so."""
    wanted = rng.randint(level.repeats[0], min(level.repeats[1], level.repeats[0] + 2))
    hidden = [rng.choice(pool)]
    for _ in range(rng.randint(*level.words) - 1):
        tiles = [tile for word in hidden for tile in word.syllables]
        more = len(tiles) - len(set(tiles)) < wanted
        others = [word for word in pool if word not in hidden]
        fitting = [word for word in others if more != set(tiles).isdisjoint(word.syllables)]
        hidden.append(rng.choice(fitting or others))
    rng.shuffle(hidden)
    return hidden


def _herrings(pool: Sequence[Word], hidden: Sequence[Word], *, tempting: bool) -> list[str]:
    """Return the tiles that may be red herrings, sorted; none of them is in a hidden word."""
    tiles = {tile for word in hidden for tile in word.syllables}
    near = [word for word in pool if not (tempting and tiles.isdisjoint(word.syllables))]
    return sorted({tile for word in near for tile in word.syllables} - tiles)


def _row(puzzle: Puzzle) -> Row:
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": prompt_of(puzzle)},
            {"role": "assistant", "content": answer_of(puzzle)},
        ],
        "metadata": {
            "skill": "syllo",
            "difficulty": puzzle.level.name,
            "level": 1 + list(LEVELS).index(puzzle.level.name),
            "puzzle_id": puzzle.id,
            "format": puzzle.form.name,
        },
    }
