"""
The forms in which a puzzle may ask for its answer: the sentence that says so, and the JSON.

Knows numbers, tiles and words; does not know which of them are right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """
    One clue with what was put into it.
    """

    number: int
    """From 1."""

    tiles: tuple[str, ...]
    word: str
    """UPPERCASE."""


@dataclass(frozen=True, slots=True)
class Form:
    """
    One way of writing an answer.
    """

    name: str
    contract: str
    """What the puzzle says about it; with the puzzle's general rules it leaves nothing open."""

    build: Callable[[Sequence[Slot], Sequence[str]], Payload]
    """Slots and unused tiles to JSON."""

    read: Callable[[Mapping[str, Any]], tuple[list[Slot], list[str]]]
    """
    The reverse. Raises KeyError, TypeError, ValueError or AttributeError if the JSON is laid
    out in another way; ``build`` of what it returns tells what else the JSON holds.
    """


_SPELLED = re.compile(r"(\d+)\) (.+) -> (\S+)")
_NONE = "none"


def _solutions(slots: Sequence[Slot], unused: Sequence[str]) -> Payload:
    used = sum(len(slot.tiles) for slot in slots)
    return {
        "solutions": [
            {"ans_num": s.number, "syllables": list(s.tiles), "answer": s.word} for s in slots
        ],
        "inventory_check": {
            "total_tiles": used + len(unused),
            "used_tiles": used,
            "unused_tiles": list(unused),
        },
    }


def _read_solutions(payload: Mapping[str, Any]) -> tuple[list[Slot], list[str]]:
    slots = [Slot(s["ans_num"], tuple(s["syllables"]), s["answer"]) for s in payload["solutions"]]
    return slots, list(payload["inventory_check"]["unused_tiles"])


def _map(slots: Sequence[Slot], unused: Sequence[str]) -> Payload:
    return {
        "solutions_map": {
            str(s.number): {"syllables": list(s.tiles), "word": s.word} for s in slots
        },
        "unused_tiles": list(unused),
    }


def _read_map(payload: Mapping[str, Any]) -> tuple[list[Slot], list[str]]:
    entries = payload["solutions_map"].items()
    slots = [Slot(int(number), tuple(s["syllables"]), s["word"]) for number, s in entries]
    # An object has no order of its own.
    return sorted(slots, key=lambda s: s.number), list(payload["unused_tiles"])


def _sequence(slots: Sequence[Slot], unused: Sequence[str]) -> Payload:
    return {
        "sequence": [
            {"index": s.number, "word": s.word, "syllables": list(s.tiles)} for s in slots
        ],
        "unused_tiles": list(unused),
    }


def _read_sequence(payload: Mapping[str, Any]) -> tuple[list[Slot], list[str]]:
    slots = [Slot(s["index"], tuple(s["syllables"]), s["word"]) for s in payload["sequence"]]
    return slots, list(payload["unused_tiles"])


def _text(slots: Sequence[Slot], unused: Sequence[str]) -> Payload:
    return {
        "solutions_text": "; ".join(
            f"{s.number}) {' + '.join(s.tiles)} -> {s.word}" for s in slots
        ),
        "inventory_text": ", ".join(unused) or _NONE,
    }


def _read_text(payload: Mapping[str, Any]) -> tuple[list[Slot], list[str]]:
    slots = []
    for part in payload["solutions_text"].split("; "):
        match = _SPELLED.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not of the form 'N) tile + tile -> WORD'")
        slots.append(Slot(int(match[1]), tuple(match[2].split(" + ")), match[3]))
    unused = payload["inventory_text"]
    return slots, [] if unused == _NONE else unused.split(", ")


FORMS: tuple[Form, ...] = (
    Form(
        "solutions",
        "respond with the keys `solutions` and `inventory_check`, in this order. `solutions` is an"
        " array with one object for each clue: `ans_num` (the clue number), `syllables` (array of"
        " its tiles), `answer` (the word). `inventory_check` is an object: `total_tiles` (how many"
        " tiles the bank has), `used_tiles` (how many of them are in words), `unused_tiles` (array"
        " of the others).",
        _solutions,
        _read_solutions,
    ),
    Form(
        "solutions_map",
        "respond with the keys `solutions_map` and `unused_tiles`, in this order. `solutions_map`"
        " is an object keyed by clue numbers (as strings), each value an object: `syllables`"
        " (array of its tiles), `word`. `unused_tiles` is an array.",
        _map,
        _read_map,
    ),
    Form(
        "sequence",
        "respond with the keys `sequence` and `unused_tiles`, in this order. `sequence` is an"
        " array with one object for each clue: `index` (the clue number), `word`, `syllables`"
        " (array of its tiles). `unused_tiles` is an array.",
        _sequence,
        _read_sequence,
    ),
    Form(
        "solutions_text",
        "respond with the keys `solutions_text` and `inventory_text`, in this order, both strings."
        " `solutions_text` says `N) tile + tile -> WORD` for each clue N, joined by `; `."
        " `inventory_text` lists the unused tiles joined by `, `, or says `none`.",
        _text,
        _read_text,
    ),
)
"""Every puzzle asks for one of these."""
