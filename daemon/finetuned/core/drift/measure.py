"""
What is measured of a prompt and of an answer, and the values that say that it moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

Value = float | str | None
"""Of one prompt or answer: a number, the name of a kind, or None if the measure does not apply."""

Values = Mapping["Measure", Sequence[Value]]
"""All measures of the same prompts or answers, each as long as the others."""


class Measure(StrEnum):
    """
    Names of measures; programs may rely on them.
    """

    LENGTH = "length"  # characters of what is asked
    FORMAT = "format"  # system prompt, turns, tools; JSON, code, lines
    VOCABULARY = "vocabulary"  # share of words that the reference does not have
    WORDING = "wording"  # distance to the nearest prompt of the reference, by its n-grams
    CONFIDENCE = "confidence"  # geometric mean of the probabilities of the answer's tokens
    STOPPED = "stop_rate"  # answers that ended by themselves
    VALID = "validity"  # answers of a form that trained answers have
    REFUSED = "refusal_rate"  # answers that decline to do what was asked


INPUTS: Final = (Measure.LENGTH, Measure.FORMAT, Measure.VOCABULARY, Measure.WORDING)
OUTPUTS: Final = (Measure.CONFIDENCE, Measure.STOPPED, Measure.VALID, Measure.REFUSED)

KINDS: Final = frozenset({Measure.FORMAT, Measure.STOPPED, Measure.VALID, Measure.REFUSED})
"""Measures whose values are names of kinds."""

RATES: Final = frozenset({Measure.STOPPED, Measure.VALID, Measure.REFUSED})
"""Of these, those that are YES or NO, and whose share of YES is the figure."""

UPWARDS: Final = frozenset({Measure.VOCABULARY, Measure.WORDING})
"""Measures that matter only if they rise: prompts that are nearer to the reference harm nobody."""

YES, NO = "yes", "no"


class Against(StrEnum):
    """
    What the reference is.
    """

    TRAINED = "trained"  # rows that the version in use has learnt
    EARLIER = "earlier"  # what was asked and answered before


@dataclass(frozen=True, slots=True)
class Span:
    """
    Some days on end whose prompts or answers are judged together.
    """

    first: date
    last: date
    values: Values


@dataclass(frozen=True, slots=True)
class Difference:
    """
    How one span differs from the reference in one measure.
    """

    effect: float
    """
    Population stability index without what chance alone adds, >= 0; for a rate the change of its
    share, 0 to 1.
    """
    p: float
    """Of the two-sample test, not corrected."""
    before: float
    """Median of the reference; for kinds the share of *kind* in it."""
    now: float
    """The same of the span."""
    kind: str | None = None
    """For kinds: the one whose share changed most."""


@dataclass(frozen=True, slots=True)
class Alert:
    """
    One measure that moved.
    """

    measure: Measure
    against: Against
    since: date
    """First day of the first span of the run of spans that moved."""
    noticed: date
    """Last day of that span: it was not known before."""
    until: date | None
    """Last day of the run; None if it holds in the last span."""
    difference: Difference
    """Of the last span of the run."""
    p: float
    """The largest of the run, corrected for all tests that were made together (Holm)."""
    examples: tuple[int, ...] = ()
    """Items of that span that show it best, by number."""
