"""
Which items of several suites are asked if there is no time for all of them.

A sample is stratified: as many items of each suite, and within a suite spread evenly over its
items in the order of their texts, so that each template has its share. A larger sample holds
every item of a smaller one. Neither what a model answers nor how long it takes decides which
items are in it, so that the items stand for the whole suite. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

LEAST_ASKED: Final = 32
"""Fewest items of a suite that stand for it; what was asked less promotes nothing."""

GROWTH: Final = 4
"""How many times larger each sample is than the one before, if one after another is asked."""


def sample_order(texts: Sequence[str]) -> list[int]:
    """
    Return the numbers of items in the order in which they join a sample.

    The first n of them are spread evenly over the sorted *texts*, whatever n is.

    Args:
        texts: Of the items. Two with the same text keep their order.

    Source:
        Van der Corput (1935): the numbers from 0 with their binary digits reversed.
    """
    by_text = sorted(range(len(texts)), key=lambda i: (texts[i], i))
    bits = max(1, (len(texts) - 1).bit_length())
    spread = (int(f"{k:0{bits}b}"[::-1], 2) for k in range(2**bits))
    return [by_text[k] for k in spread if k < len(texts)]


def sizes_within(
    costs: Sequence[Sequence[float]], limit: float, least: Sequence[int] = ()
) -> list[int]:
    """
    Return how many items of each suite fit into a limit, as evenly as the suites allow.

    Args:
        costs: Of each suite the cost of each item, >= 0, in the order of its sample.
        limit: Most that all items together may cost.
        least: Of each suite how many items are asked whatever they cost; empty for 1 of each.

    Returns:
        For each suite its size, or the same number for all suites that are larger; no less
        than *least* of each, or 1 of each that has an item, even if that is more than the limit.
    """
    sums = [list(accumulate(suite)) for suite in costs]
    floors = least or [1] * len(costs)

    def size(most: int, suite: int) -> int:
        return min(max(most, floors[suite]), len(sums[suite]))

    def cost(most: int) -> float:
        return sum(s[size(most, i) - 1] for i, s in enumerate(sums) if s)

    low, high = 1, max((len(s) for s in sums), default=0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle) <= limit else (low, middle - 1)
    return [size(low, i) for i in range(len(sums))]


def growing_sizes(largest: int) -> list[int]:
    """
    Return the sizes of the samples that are asked before all of a suite: 32, then 4 times as many.

    Args:
        largest: Items of the largest suite, >= 0; every size is smaller.
    """
    sizes, n = [], LEAST_ASKED
    while n < largest:
        sizes.append(n)
        n *= GROWTH
    return sizes
