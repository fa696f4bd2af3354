"""
Days with their prompts or answers, put together until there are enough to judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, TypeVar

LEAST: Final = 50
"""Different prompts, or answers, below which nothing is judged."""

T = TypeVar("T")


def grouped(
    days: Mapping[date, Sequence[T]], least: int = LEAST
) -> tuple[list[tuple[date, date, list[T]]], int]:
    """
    Return first day, last day and items of each group of days on end, oldest first.

    Groups are made from the last day backwards, so that the newest prompts are always judged.

    Args:
        days: Items of each day; days without any may be missing.
        least: Items that a group needs, >= 1.

    Returns:
        The groups; and how many items are in none, as all days together have too few.
    """
    groups: list[tuple[date, date, list[T]]] = []
    last: date | None = None
    held: list[T] = []
    for day in sorted((day for day, items in days.items() if items), reverse=True):
        last = last or day
        held = [*days[day], *held]
        if len(held) >= least:
            groups.insert(0, (day, last, held))
            last, held = None, []
    if held and groups:
        _, end, items = groups[0]
        groups[0] = (min(day for day, items in days.items() if items), end, [*held, *items])
        held = []
    return groups, len(held)
