"""
Rows that are nearly rows of earlier files are found, and others are not.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from finetuned.data.near_rows import NearRowIndex, NearRows

TEMPLATE = list(range(400))
"""What every row begins with."""


def rows(seed: int, n: int, length: int = 40) -> list[np.ndarray]:
    dice = random.Random(seed)
    return [
        np.array(TEMPLATE + [dice.randrange(500, 20_000) for _ in range(length)]) for _ in range(n)
    ]


def changed(row: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return *row* with some tokens after the template replaced, side by side."""
    made = row.copy()
    n = round(share * (len(row) - len(TEMPLATE)))
    made[len(row) - n :] = np.arange(30_000 + seed, 30_000 + seed + n)
    return made


def test_a_shared_template_makes_no_two_rows_near():
    """
    Ten of eleven tokens of every row are the template's.
    """
    index = NearRowIndex({"a": rows(1, 50), "b": rows(2, 50)})

    assert NearRows(0, 50) == index.near("b", ["a"])


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 50, 50), (0.05, 40, 50), (0.5, 0, 1)])
def test_rows_are_near_by_what_they_share(share, low, high):
    """
    The same row, one with 2 of 40 tokens replaced, and one with half of them.
    """
    first = rows(1, 50)
    index = NearRowIndex(
        {"a": first, "b": [changed(row, share, 100 * i) for i, row in enumerate(first)]}
    )
    found = index.near("b", ["a"])

    assert 50 == found.looked
    assert low <= found.near <= high


def test_only_earlier_files_count():
    """
    A file is not its own copy, and one that was not asked about is none.
    """
    index = NearRowIndex({"a": rows(1, 10), "b": rows(1, 10)})

    assert NearRows(0, 10) == index.near("a", ["a"])
    assert NearRows(0, 10) == index.near("b", [])
    assert NearRows(10, 10) == index.near("b", ["a"])


def test_small_and_empty_files_are_taken_as_they_are():
    """
    One row, a row of one token, and no row.
    """
    index = NearRowIndex({"a": [np.array([7])], "b": [np.array([7])], "c": []})

    assert NearRows(1, 1) == index.near("b", ["a", "c"])
    assert NearRows(0, 0) == index.near("c", ["a"])
