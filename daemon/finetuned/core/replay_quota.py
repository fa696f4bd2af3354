"""
How often a job presents rows of earlier files again.

What counts against forgetting is how often a job presents what it could forget, not which
share of the job that is: so each family of earlier files, those of one kind, gets the same
number of presentations. Three things change that number. A family that the job's own rows
belong to is trained by them, and gets a small share of the job. A family on which the lineage
has lost ground gets more, one that has held it through several versions less. And all of
them together are at most half of the job.

Pure. Does not know rows; whoever calls says which files are of one kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KNOWN_SHARE: Final = 0.05
"""Share of a job that all families together get of which the job trains new rows anyway."""

MOST_TIMES: Final = 20
"""A job presents one row of an earlier file at most so often."""


class Because(StrEnum):
    """
    Why a family gets as many presentations as it does.
    """

    EQUAL = "as configured"
    SAME_KIND = "the job's own rows are of its kind"
    LOST_GROUND = "it lost ground"
    HELD_GROUND = "it held its ground"
    HALF_OF_JOB = "the job is half rehearsal"
    FEW_ROWS = "few rows of it are kept"


@dataclass(frozen=True, slots=True)
class Family:
    """
    Earlier files of one kind.
    """

    rows: int
    """Rows that can be presented, >= 1."""
    same_kind: bool = False
    """Whether new rows of the job are of that kind too: they train it, unless it slips."""
    weight: float = 1.0
    """Of forgetting.replay_weights, > 0: above 1 if the family lost ground."""


@dataclass(frozen=True, slots=True)
class Quota:
    """
    How often rows of a family are presented, each time one of them.
    """

    presentations: int
    because: Because


def quotas(families: Sequence[Family], *, presentations: int, new: int) -> list[Quota]:
    """
    Share out a job's presentations of earlier rows.

    Args:
        families: All that the lineage has learnt.
        presentations: Wanted of each family, >= 0; 0 presents nothing.
        new: Presentations of the job's own rows, all epochs, >= 0.

    Returns:
        One quota for each family, together at most *new*. Families are cut to one level for
        their weight if they do not fit: one that lost ground keeps more than one that held it.
        None gets 0 while another gets 2 or more, unless nothing is wanted.
    """
    if presentations <= 0 or new <= 0 or not families:
        return [Quota(0, Because.EQUAL) for _ in families]
    found = [_wanted(family, presentations) for family in families]
    same = [i for i, f in enumerate(families) if f.same_kind and f.weight <= 1]
    share = max(len(same), round(new * KNOWN_SHARE / (1 - KNOWN_SHARE))) if same else 0
    weights = [family.weight for family in families]
    _cut(found, weights, same, min(share, new), Because.SAME_KIND)
    _cut(found, weights, range(len(families)), new, Because.HALF_OF_JOB)
    return found


def _wanted(family: Family, presentations: int) -> Quota:
    wanted = max(1, round(presentations * family.weight))
    most = family.rows * MOST_TIMES
    if most < wanted:
        return Quota(most, Because.FEW_ROWS)
    if family.weight == 1:
        return Quota(wanted, Because.EQUAL)
    return Quota(wanted, Because.LOST_GROUND if family.weight > 1 else Because.HELD_GROUND)


def _cut(
    found: list[Quota],
    weights: Sequence[float],
    which: Sequence[int],
    total: int,
    because: Because,
) -> None:
    """Lower those of *which* until they are *total* together, each to what its weight gives."""
    given = shares([found[i].presentations for i in which], [weights[i] for i in which], total)
    for i, amount in zip(which, given, strict=True):
        if amount < found[i].presentations:
            found[i] = Quota(amount, because)


def shares(amounts: Sequence[int], weights: Sequence[float], total: int) -> list[int]:
    """
    Share out *total* in proportion to weights, to none more than its amount.

    Args:
        amounts: Wanted, each >= 1.
        weights: One for each, > 0.
        total: >= 0.

    Returns:
        The amounts if all of them fit; otherwise *total* in all, at least one each as far as
        that goes. What rounding leaves over goes to the first ones, one each.
    """
    n, given = len(amounts), list(amounts)
    if sum(amounts) <= total:
        return given
    if total < n:
        return [1] * total + [0] * (n - total)
    left, width, cut = float(total - n), math.fsum(weights), set(range(n))
    for i in sorted(range(n), key=lambda i: (amounts[i] - 1) / weights[i]):
        if (amounts[i] - 1) * width > left * weights[i]:
            break
        left, width = left - (amounts[i] - 1), width - weights[i]
        cut.discard(i)
    for i in cut:
        given[i] = 1 + int(left * weights[i] / width)
    spare = total - sum(given)
    for i in sorted(cut)[:spare]:
        given[i] += 1
    return given


def water_level(amounts: Sequence[int], total: int) -> int:
    """
    Return the highest whole level to which *amounts* may be cut to be *total* together at most.

    Args:
        amounts: Each >= 0.
        total: >= 0.

    Returns:
        The largest L with sum(min(a, L)) <= total; the largest amount if all of them fit.
    """
    left, level = total, 0
    for n, amount in zip(range(len(amounts), 0, -1), sorted(amounts), strict=True):
        step = min(amount - level, left // n)
        level, left = level + step, left - step * n
        if level < amount:
            return level
    return level
