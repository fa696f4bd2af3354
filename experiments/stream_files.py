"""
The files of a stream: good rows of infrastructure commands, and bad ones among them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetuned.sources.intents import training_rows

SHAPES = {"1x2400": (1, 2400), "24x100": (24, 100), "120x20": (120, 20), "mix": (24, 100)}
BAD_FILES = 3
"""Beside 24 good files, in the shape ``mix``."""


@dataclass(frozen=True, slots=True)
class SmallFile:
    """
    A file that is to be dropped.
    """

    name: str
    bad: bool
    """Whether its answers are permuted."""
    rows: list[dict[str, Any]]


def shape(name: str, seed: int) -> list[SmallFile]:
    """
    Return the files of a shape, in the order in which they are dropped.
    """
    n, size = SHAPES[name]
    rng = random.Random(seed)
    rows = training_rows(seed, n * size + (BAD_FILES * size if name == "mix" else 0))
    rng.shuffle(rows)
    parts = [(False, rows[i * size : (i + 1) * size]) for i in range(n)]
    if name == "mix":
        parts += [
            (True, permuted(rows[i * size : (i + 1) * size], rng)) for i in range(n, n + BAD_FILES)
        ]
        rng.shuffle(parts)
    return [SmallFile(f"part_{i:03}.jsonl", bad, part) for i, (bad, part) in enumerate(parts, 1)]


def permuted(rows: Sequence[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """
    Return the rows with each other's answers.
    """
    answers = [row["messages"][-1] for row in rows]
    rng.shuffle(answers)
    return [
        {**row, "messages": [*row["messages"][:-1], answer]}
        for row, answer in zip(rows, answers, strict=True)
    ]
