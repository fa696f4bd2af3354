"""
The tasks of augment_worth.py: the rows of a small file, and suites that ask them in other words.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.workers import CHECKOUT
from finetuned.sources import intents

BENCHMARKS = CHECKOUT / "benchmarks"

Row = dict[str, Any]

ROWS = 120

_TOLD = (
    "What is {a} plus {b}?",
    "{a} + {b} =",
    "Add {a} and {b}",
)
_OTHER = (
    "Please add {a} to {b}.",
    "Could you tell me what {a} plus {b} is?",
    "{a} and {b} added are",
    "Hi, what do {a} and {b} make?",
)


@dataclass(frozen=True, slots=True)
class Task:
    """
    One file to train, and suites to ask.
    """

    rows: Callable[[int], list[Row]]
    """Given the seed."""
    suites: Callable[[int], Mapping[str, list[Row]]]
    """Likewise; each item has an id."""


def _commands(seed: int) -> list[Row]:
    rows = intents.training_rows(seed, 400)
    return rows[:ROWS]


def _command_suites(seed: int) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for number, line in enumerate((BENCHMARKS / "infra_200.jsonl").read_text().splitlines()):
        row = json.loads(line)
        if row["metadata"]["split"] == "phrasing_disjoint":
            found.setdefault("infra_200", []).append({"id": f"infra-{number}", **row})
    people = (BENCHMARKS / "people_100.jsonl").read_text().splitlines()
    return {**found, "people_100": [json.loads(line) for line in people]}


def _pairs(seed: int) -> list[tuple[int, int]]:
    pairs = [(a, b) for a in range(10) for b in range(10)]
    random.Random(f"augment:sums:{seed}").shuffle(pairs)
    return pairs


def _sums(seed: int) -> list[Row]:
    return [
        {"prompt": _TOLD[i % len(_TOLD)].format(a=a, b=b), "completion": str(a + b)}
        for i, (a, b) in enumerate(_pairs(seed))
    ]


def _sum_suites(seed: int) -> dict[str, list[Row]]:
    pairs = _pairs(seed)
    return {
        "other phrasings": [
            {
                "id": f"sum-{a}-{b}-{way}",
                "prompt": said.format(a=a, b=b),
                "completion": str(a + b),
            }
            for a, b in sorted(pairs)[::2]
            for way, said in enumerate(_OTHER)
        ]
    }


_UNITS = (("m", "cm", "00"), ("km", "m", "000"), ("cm", "mm", "0"))
_UNITS_TOLD = (
    "{n} {big} in {small}",
    "Convert {n} {big} to {small}",
    "How many {small} are {n} {big}?",
)
_UNITS_OTHER = (
    "Please turn {n} {big} into {small}.",
    "What is {n} {big} expressed in {small}?",
    "Hi, write {n} {big} as {small}",
    "{n} {big} makes how many {small}",
)


def _lengths(seed: int) -> list[tuple[int, str, str, str]]:
    rng = random.Random(f"augment:units:{seed}")
    return [(n, *rng.choice(_UNITS)) for n in rng.sample(range(2, 400), 100)]


def _units(seed: int) -> list[Row]:
    return [
        {
            "prompt": _UNITS_TOLD[i % len(_UNITS_TOLD)].format(n=n, big=big, small=small),
            "completion": f"{n}{zeros} {small}",
        }
        for i, (n, big, small, zeros) in enumerate(_lengths(seed))
    ]


def _unit_suites(seed: int) -> dict[str, list[Row]]:
    return {
        "other phrasings": [
            {
                "id": f"unit-{i}-{way}",
                "prompt": said.format(n=n, big=big, small=small),
                "completion": f"{n}{zeros} {small}",
            }
            for i, (n, big, small, zeros) in enumerate(_lengths(seed)[::2])
            for way, said in enumerate(_UNITS_OTHER)
        ]
    }


TASKS = {
    "sums": Task(_sums, _sum_suites),
    "units": Task(_units, _unit_suites),
    "commands": Task(_commands, _command_suites),
}
