"""
The rows of learnt files that were trained, read again from the files that were dropped.

A row counts only if the dataset's own table says that its line, with this very prompt, is trained:
held-out rows, rows whose prompts an earlier file or a suite holds out, and lines that somebody
changed since are left out. Knows files; does not know models.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import ReadRow, read_line
from finetuned.data.store import TokenisedDataset
from finetuned.data.strict_json import Oversized, iter_lines
from finetuned.files.learnt_file import LearntFile


@dataclass(frozen=True, slots=True)
class TrainedRow:
    """
    A row that was trained.
    """

    example: Example
    source: str
    """What people called its file."""
    line: int
    """From 1."""


@dataclass(frozen=True, slots=True)
class DrawnRows:
    """
    Trained rows in random order.
    """

    rows: tuple[TrainedRow, ...]
    n_changed: int
    """Rows that were drawn, and whose line is not the one that was trained."""


def trained_rows(files: Sequence[LearntFile], n: int, *, seed: int, max_bytes: int) -> DrawnRows:
    """
    Return *n* of the trained rows of *files*, drawn at random; all if fewer.

    Args:
        files: To draw from; a line has the same chance in each.
        n: Rows at most, >= 0.
        seed: The same one draws the same rows.
        max_bytes: Longest line that is read.

    Raises:
        ModelError, CorruptFile: A dataset is not whole.
        OSError: A file cannot be read.
    """
    rng = random.Random(f"correction:{seed}")
    prompts = [_trained(file) for file in files]
    places = [(number, line) for number, lines in enumerate(prompts) for line in lines]
    drawn = rng.sample(places, min(n, len(places)))
    wanted: list[set[int]] = [set() for _ in files]
    for number, line in drawn:
        wanted[number].add(line)
    found: dict[tuple[int, int], TrainedRow] = {}
    for number, file in enumerate(files):
        for line, example in _read(file.path, wanted[number], max_bytes).items():
            if prompt_hash(example) in prompts[number][line]:
                found[number, line] = TrainedRow(example, file.name, line)
    return DrawnRows(
        tuple(found[place] for place in drawn if place in found), len(drawn) - len(found)
    )


def _trained(file: LearntFile) -> dict[int, set[int]]:
    """Return the prompts of each trained line: children of a row stand on its line as well."""
    dataset = TokenisedDataset.open(file.dataset)
    found: dict[int, set[int]] = {}
    pairs = zip(dataset.lines.tolist(), dataset.prompt_hashes.tolist(), strict=True)
    for line, prompt in pairs:
        if line not in file.unseen:
            found.setdefault(line, set()).add(prompt)
    return found


def _read(path: Path, wanted: set[int], max_bytes: int) -> dict[int, Example]:
    if not wanted:
        return {}
    found: dict[int, Example] = {}
    last = max(wanted)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for number, _, line in iter_lines(fd, max_bytes):
            if number > last:
                break
            if number not in wanted or isinstance(line, Oversized):
                continue
            if isinstance(read := read_line(line), ReadRow):
                found[number] = read.example
    finally:
        os.close(fd)
    return found
