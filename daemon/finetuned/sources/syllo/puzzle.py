"""
One puzzle: its difficulty, its text, its one answer, and the check of any other answer.

Pure. Knows rules; does not know the word list, nor how puzzles are drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from finetuned.sources.syllo.forms import Form, Slot
from finetuned.sources.syllo.words import Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """
    What a difficulty means. All ranges include both ends.
    """

    name: str
    words: tuple[int, int]
    """How many words are hidden."""

    repeats: tuple[int, int]
    """How many tiles of the answers repeat another one, so that two words compete for it."""

    herrings: tuple[int, int]
    """How many tiles belong to no word."""

    tempting: bool = False
    """Whether those come from other words that share a syllable with the hidden ones."""


LEVELS: Mapping[str, Level] = {
    level.name: level
    for level in (
        Level(name="easy", words=(4, 4), repeats=(0, 1), herrings=(0, 0)),
        Level(name="medium", words=(5, 6), repeats=(1, 2), herrings=(1, 2)),
        Level(name="hard", words=(7, 8), repeats=(3, 8), herrings=(3, 5), tempting=True),
    )
}
"""From easy to hard."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """
    One puzzle with its answer.
    """

    id: str
    level: Level
    words: tuple[Word, ...]
    """In the order of the clues."""

    bank: tuple[str, ...]
    """Every tile, shuffled: those of the words and the red herrings, which equal none of them."""

    form: Form


SYSTEM = "You are given a SYLLO puzzle. Reply with the JSON object it asks for, nothing else."


def prompt_of(puzzle: Puzzle) -> str:
    """
    Return the text of *puzzle*, which settles its answer to the last character.
    """
    words, herrings = puzzle.words, unused_tiles(puzzle.bank, puzzle.words)
    slots = [
        f"{i}. {' '.join(['___'] * len(word.syllables))} — {word.definition}"
        for i, word in enumerate(words, start=1)
    ]
    if herrings:
        count = (
            f"{len(herrings)} tile{'s are red herrings' if herrings[1:] else ' is a red herring'}"
        )
        note = f"Note: {count} and left over when every word is complete."
    else:
        note = "- Every tile of the bank belongs to a word."
    return "\n".join(
        (
            f"SYLLO Puzzle {puzzle.id}",
            "Build every hidden word from the syllable tiles; its definition tells which it is.",
            f"Difficulty: {puzzle.level.name.capitalize()}",
            "Rules:",
            f"- {len(words)} target words.",
            "- Every blank of a word slot stands for one syllable, that is for one tile.",
            "- A tile is used once; a syllable that is needed twice is in the bank twice.",
            "",
            "Word slots:",
            *slots,
            "",
            note,
            "",
            "Syllable bank (shuffled):",
            " | ".join(puzzle.bank),
            "",
            "Output contract:",
            "- Return a single JSON object on one line, without spaces between its parts.",
            "- Clues follow one another by number, the tiles of a word in the order of the word.",
            "- Tiles are written as in the bank, words in UPPERCASE.",
            "- Unused tiles are listed in the order of the bank; without any, the list is empty.",
            "- Nothing stands before or after the JSON object.",
            f"- Format: {puzzle.form.contract}",
        )
    )


def answer_of(puzzle: Puzzle) -> str:
    """
    Return the one right answer to *puzzle*, compact JSON.
    """
    slots = [Slot(i, w.syllables, w.text.upper()) for i, w in enumerate(puzzle.words, start=1)]
    unused = unused_tiles(puzzle.bank, puzzle.words)
    return orjson.dumps(puzzle.form.build(slots, unused)).decode()


def check(puzzle: Puzzle, answer_text: str) -> list[str]:
    """
    Judge an answer by the rules, without looking at the golden one.

    White space between the parts of the JSON and the order of keys do not matter.

    Args:
        puzzle: The puzzle that was asked.
        answer_text: What was answered; any text.

    Returns:
        One complaint for each broken rule; empty if the answer is right.
    """
    try:
        payload = orjson.loads(answer_text)
    except orjson.JSONDecodeError as e:
        return [f"not JSON: {e}"]
    if not isinstance(payload, dict):
        return ["not a JSON object"]
    try:
        slots, unused = puzzle.form.read(payload)
        complaints = [] if puzzle.form.build(slots, unused) == payload else ["not the format"]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        return [f"not the format: {type(e).__name__}: {e}"]
    if not all(isinstance(tile, str) for slot in slots for tile in slot.tiles):
        return [*complaints, "a tile is not a string"]
    if [slot.number for slot in slots] != list(range(1, len(puzzle.words) + 1)):
        return [*complaints, "the clues are not numbered one after the other"]
    for slot, word in zip(slots, puzzle.words, strict=True):
        complaints += _wrong_word(slot, word)
    return complaints + _wrong_tiles(slots, unused, puzzle.bank)


def spellings(word: Word, bank: Sequence[str]) -> set[tuple[str, ...]]:
    """
    Return every sequence of tiles that fills the slot of *word* with its letters.

    A puzzle has one solution if each of its words has one spelling.
    """
    found: set[tuple[str, ...]] = set()

    def extend(start: tuple[str, ...], rest: str, left: Counter[str]) -> None:
        if len(start) == len(word.syllables):
            if not rest:
                found.add(start)
            return
        for tile in left:
            if left[tile] and rest.startswith(tile):
                extend((*start, tile), rest.removeprefix(tile), left - Counter([tile]))

    extend((), word.text, Counter(bank))
    return found


def unused_tiles(bank: Sequence[str], words: Sequence[Word]) -> list[str]:
    """
    Return the tiles of *bank* that *words* leave over, in the order of the bank.
    """
    return _left_over(bank, Counter(s for word in words for s in word.syllables))


def _left_over(bank: Sequence[str], used: Counter[str]) -> list[str]:
    left = []
    for tile in bank:
        if used[tile] > 0:
            used[tile] -= 1
        else:
            left.append(tile)
    return left


def _wrong_word(slot: Slot, word: Word) -> list[str]:
    complaints = []
    if len(slot.tiles) != len(word.syllables):
        complaints.append(f"clue {slot.number} has {len(word.syllables)} blanks")
    if "".join(slot.tiles).upper() != slot.word:
        complaints.append(f"clue {slot.number}: the tiles do not spell {slot.word!r}")
    if slot.word != word.text.upper():
        complaints.append(f"clue {slot.number}: {slot.word!r} is not {word.definition!r}")
    return complaints


def _wrong_tiles(slots: Sequence[Slot], unused: Sequence[str], bank: Sequence[str]) -> list[str]:
    used = Counter(tile for slot in slots for tile in slot.tiles)
    complaints = [
        f"{tile!r} is used {n} times, the bank has {bank.count(tile)}"
        for tile, n in used.items()
        if n > bank.count(tile)
    ]
    if list(unused) != (left := _left_over(bank, used)):
        complaints.append(f"the unused tiles are {left}")
    return complaints
