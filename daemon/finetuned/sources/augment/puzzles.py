"""
SYLLO puzzles with their clues, or their tiles, in another order.

The parent's text is read back into a puzzle, with the words of its own answer, and only a text
that says exactly what that puzzle says is taken for one. A child is a puzzle by the same rules.
Pure.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Final

import orjson

from finetuned.sources.augment.exchange import Exchange
from finetuned.sources.augment.transform import Transform
from finetuned.sources.syllo.forms import FORMS
from finetuned.sources.syllo.puzzle import (
    LEVELS,
    Puzzle,
    answer_of,
    check,
    prompt_of,
    spellings,
)
from finetuned.sources.syllo.words import Word

_HEAD: Final = re.compile(r"SYLLO Puzzle (\S+)\n")
_LEVEL: Final = re.compile(r"^Difficulty: (\w+)$", re.MULTILINE)
_SLOT: Final = re.compile(r"^\d+\. ___(?: ___)* \u2014 (.+)$", re.MULTILINE)
_BANK: Final = re.compile(r"^Syllable bank \(shuffled\):\n(.+)$", re.MULTILINE)
_TRIES: Final = 8


def is_puzzle(prompt: str) -> bool:
    """
    Return whether a prompt begins as a puzzle does.
    """
    return _HEAD.match(prompt) is not None


def puzzle_of(exchange: Exchange) -> Puzzle | None:
    """
    Return the puzzle that a prompt is, None if it is none or its answer is not the right one.
    """
    head, level = _HEAD.match(exchange.prompt), _LEVEL.search(exchange.prompt)
    bank = _BANK.search(exchange.prompt)
    if head is None or level is None or bank is None or level[1].lower() not in LEVELS:
        return None
    clues = _SLOT.findall(exchange.prompt)
    for form in FORMS:
        try:
            payload = orjson.loads(exchange.answer)
            slots, _ = form.read(payload)
            words = tuple(
                Word(slot.word.lower(), slot.tiles, clue)
                for slot, clue in zip(slots, clues, strict=True)
            )
            puzzle = Puzzle(
                head[1], LEVELS[level[1].lower()], words, tuple(bank[1].split(" | ")), form
            )
            if prompt_of(puzzle) == exchange.prompt and answer_of(puzzle) == exchange.answer:
                return puzzle
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return None


def _has_one_solution(puzzle: Puzzle) -> bool:
    return all(spellings(word, puzzle.bank) == {word.syllables} for word in puzzle.words)


def _written(exchange: Exchange, puzzle: Puzzle) -> Exchange:
    return replace(exchange, prompt=prompt_of(puzzle), answer=answer_of(puzzle))


def _shuffle_clues(exchange: Exchange, rng: random.Random) -> Exchange | None:
    puzzle = puzzle_of(exchange)
    if puzzle is None or len(puzzle.words) < 2:
        return None
    words = list(puzzle.words)
    for _ in range(_TRIES):
        rng.shuffle(words)
        if tuple(words) != puzzle.words:
            break
    return _written(exchange, replace(puzzle, words=tuple(words)))


def _shuffle_tiles(exchange: Exchange, rng: random.Random) -> Exchange | None:
    puzzle = puzzle_of(exchange)
    if puzzle is None:
        return None
    bank = list(puzzle.bank)
    for _ in range(_TRIES):
        rng.shuffle(bank)
        if tuple(bank) != puzzle.bank:
            break
    return _written(exchange, replace(puzzle, bank=tuple(bank)))


def _complaint(parent: Exchange, child: Exchange) -> str | None:
    before, after = puzzle_of(parent), puzzle_of(child)
    if before is None or after is None:
        return "no_puzzle"
    same = (before.id, before.level, before.form) == (after.id, after.level, after.form)
    if not same or sorted(before.words, key=_text) != sorted(after.words, key=_text):
        return "clues_changed"
    if sorted(before.bank) != sorted(after.bank):
        return "tiles_changed"
    if check(after, child.answer) or not _has_one_solution(after):
        return "not_one_solution"
    return None


def _text(word: Word) -> str:
    return word.text


CLUES: Final = Transform(
    "clues",
    "the clues with their words and tiles, the bank, the form of the answer; one solution",
    _shuffle_clues,
    _complaint,
)
TILES: Final = Transform(
    "tiles",
    "the clues and their order, the tiles of the bank, the form of the answer; one solution",
    _shuffle_tiles,
    _complaint,
)
