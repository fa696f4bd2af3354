"""
What a look at a root finds, as values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from finetuned.core.drift.measure import Alert


@dataclass(frozen=True, slots=True)
class Example:
    """
    One prompt, and its answer if the alert is about answers; passwords are replaced.
    """

    asked: str
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """
    An alert with what a person wants to see of it.
    """

    alert: Alert
    examples: tuple[Example, ...]
    versions: tuple[str, ...] = ()
    """Versions that answer since the first day of it, and did not before."""


@dataclass(frozen=True, slots=True)
class FileLook:
    """
    One file that was dropped in the days that are looked at.
    """

    key: str
    name: str
    rows: int
    """Different prompts that were looked at."""
    moved: tuple[Moved, ...]
    """Empty if it is like what was trained before."""
    problem: str | None = None
    """Why it was not looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """
    Everything that was found.
    """

    first: date
    last: date
    """Local days; both and all between were looked at."""
    version: str | None
    """Whose training is the reference: the version in use, else the head; None is neither."""
    trained_rows: int
    trained_files: int
    """Rows of the reference that were read, and files that they are of."""
    requests: int
    """Recorded requests of these days."""
    prompts: int
    """Different ones of these that were looked at."""
    earlier: int
    """Different requests of the days before that were looked at."""
    inputs: tuple[Moved, ...]
    outputs: tuple[Moved, ...]
    files: tuple[FileLook, ...]
    notes: tuple[str, ...]
    """What could not be told and why, one sentence each."""

    @property
    def now(self) -> tuple[Moved, ...]:
        """What moved and is not back."""
        return tuple(m for m in (*self.inputs, *self.outputs) if m.alert.until is None)
