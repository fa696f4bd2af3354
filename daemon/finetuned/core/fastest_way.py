"""
Which of several ways to compute the same is used: the first, unless another is faster beyond noise.

Ways stand in the order of their operations, the fewest first. They are timed in turns, each way
once a turn, so that what else the machine does meets all of them alike; the ratios within the
turns are judged. Pure: knows seconds; does not know what is computed or who measures.

Source of the test: Yuen, Biometrika 61 (1974), 165: Student's t of the trimmed mean with the
winsorised variance. A fifth of the turns at each end counts as no more than the next one, so that
a turn in which the machine did something else decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import mean, median, stdev

from finetuned.core.statistics import student_tail

LEAST_TURNS = 3
"""Fewer turns decide nothing."""

MOST_TURNS = 64
"""After so many turns two ways are as good as equal."""

WORTH = 1.08
"""A way that is not so many times as fast does not take the place of one with fewer operations."""

MOST_SECONDS = 60.0
"""Longest that ways are timed, whatever the job."""

LEAST_SECONDS = 2.0
"""So long ways may be timed in a job of any length if there is no earlier choice."""

JOB_SHARE = 0.05
"""Longest that ways are timed, as a share of the job."""

_TRIMMED = 0.2
_CHANCE = 0.0025
"""Of a wrong verdict at one turn; there are up to MOST_TURNS."""
_LAST_CHANCE = 0.05
"""The same if there are no more turns."""
_LEAST_ERROR = 0.002
"""Standard error of a mean log ratio that is believed at most: clocks and caches differ by that."""
_SLOWER = 1.5
"""How much longer than the first way the others are expected to take."""


class _Verdict(Enum):
    FASTER = "faster"
    NOT_FASTER = "not faster"
    OPEN_BUT_FASTER = "open but faster"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    The way to use, as far as the turns tell.
    """

    chosen: int
    """Number of the way."""
    open: tuple[int, ...]
    """Ways that need more turns for a clear choice, ascending; none if the choice is clear."""

    @property
    def is_clear(self) -> bool:
        """Whether more turns would change nothing."""
        return not self.open


def judge(turns: Sequence[Sequence[float]]) -> Judgement:
    """
    Choose among ways that were timed in turns.

    A way takes the place of one before it if it is faster beyond the noise, and does not if it
    is not WORTH times as fast beyond the noise. Between the two the choice is open: then it
    does if chance would hardly make it look as fast, and more turns are of use.

    Args:
        turns: For each way the seconds of its turns from the first on, each
            > 0. Ways with fewer operations come first. One that needed no more turns has fewer.
    """
    chosen, still_open = 0, set[int]()
    for way in range(1, len(turns)):
        verdict = _compare(turns[chosen], turns[way])
        if verdict in (_Verdict.OPEN, _Verdict.OPEN_BUT_FASTER):
            still_open |= {chosen, way}
        if verdict in (_Verdict.FASTER, _Verdict.OPEN_BUT_FASTER):
            chosen = way
    return Judgement(chosen, tuple(sorted(still_open)))


def _compare(plain: Sequence[float], other: Sequence[float]) -> _Verdict:
    """Judge *other* against *plain* by the turns that both had."""
    ratios = [math.log(b / a) for a, b in zip(plain, other, strict=False)]
    if len(ratios) < LEAST_TURNS:
        return _Verdict.OPEN
    middle, error, freedom = _trimmed(ratios)
    by_chance = student_tail(-middle / error, freedom)
    if_worth = student_tail((middle + math.log(WORTH)) / error, freedom)
    if min(by_chance, if_worth) <= _CHANCE:
        return _Verdict.FASTER if by_chance < if_worth else _Verdict.NOT_FASTER
    return _Verdict.OPEN_BUT_FASTER if by_chance <= _LAST_CHANCE else _Verdict.OPEN


def _trimmed(values: Sequence[float]) -> tuple[float, float, int]:
    """Return the trimmed mean of *values*, its standard error and its degrees of freedom."""
    n = len(values)
    cut = int(_TRIMMED * n)
    kept = sorted(values)[cut : n - cut]
    winsorised = [kept[0]] * cut + kept + [kept[-1]] * cut
    error = stdev(winsorised) * math.sqrt(n) / len(kept)
    return mean(kept), max(error, _LEAST_ERROR), len(kept) - 1


def seconds_to_look(job_seconds: float | None, *, again: bool) -> float:
    """
    Return how long ways may be timed in a job.

    Args:
        job_seconds: About how long its training takes; None if that does not matter.
        again: Whether there is an earlier choice, which may stay.
    """
    if job_seconds is None:
        return MOST_SECONDS
    share = min(MOST_SECONDS, JOB_SHARE * job_seconds)
    return share if again else max(LEAST_SECONDS, share)


def tokens_a_turn(seconds: float, *, ways: int, seconds_per_token: float) -> int:
    """
    Return the most tokens that one way may compute in a turn, so that *seconds* are enough.

    They are for LEAST_TURNS turns and one that warms up, of each of *ways*; 0 if that is too much.

    Args:
        seconds: That there are, of any sign.
        ways: That are timed, >= 1.
        seconds_per_token: Of the first way, > 0.
    """
    runs = (LEAST_TURNS + 1) * (1 + (ways - 1) * _SLOWER)
    return max(0, int(seconds / (runs * seconds_per_token)))


def evidence(names: Sequence[str], turns: Sequence[Sequence[float]], judgement: Judgement) -> str:
    """
    Say in figures why a way was chosen: median, least and most of each.

    Args:
        names: Of the ways.
        turns: As in judge().
        judgement: Of these turns.
    """
    figures = [
        f"{name} {1e3 * median(seconds):.4g} ms ({1e3 * min(seconds):.4g} to "
        f"{1e3 * max(seconds):.4g}, {len(seconds)} turns)"
        for name, seconds in zip(names, turns, strict=True)
        if seconds
    ]
    if not figures:
        return f"not timed: there was no time; {names[judgement.chosen]} has the fewest operations"
    end = "clear" if judgement.is_clear else "close, a later job looks again"
    return f"{names[judgement.chosen]}: {end}; {', '.join(figures)}"
