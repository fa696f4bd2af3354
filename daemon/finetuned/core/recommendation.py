"""
One recommendation of a daily report, as a value. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NAMED: Final = 3
"""Things that one sentence names; more are counted."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """
    What to do, and why.
    """

    rule: str
    """Name of the rule that says so."""
    advice: str
    """One sentence: what to do."""
    evidence: str
    """What was seen."""


def some(names: Sequence[str]) -> str:
    """
    Return the first *names*, and how many more there are.
    """
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
