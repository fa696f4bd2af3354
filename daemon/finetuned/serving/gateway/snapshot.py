"""
What the live page shows, as one typed document.

Values only: where they are read from is live.py's business, how they look is the page's.
Texts are as files have them, unescaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum


class Tone(StrEnum):
    """
    How the state of the daemon is coloured.
    """

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """
    What the daemon does.
    """

    headline: str = "No daemon ever ran here"
    tone: Tone = Tone.WARN
    busy: bool = False
    job: str | None = None
    files: tuple[str, ...] = ()
    n_files: int = 0
    alive: bool = False
    since: str | None = None
    """
    When the run that goes on began, RFC 3339; of a daemon that is not alive, its last sign of
    life. None if there is none.
    """
    done: int = 0
    total: int = 0
    unit: str = "step"
    eta_seconds: float | None = None
    facts: tuple[tuple[str, str], ...] = ()
    version: str | None = None
    head: str | None = None
    problems: tuple[str, ...] = ()
    advice: str = "Start it:"
    """What a person can do now; empty if there is nothing."""
    command: str = "finetuned run"
    """That does it."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line of a chart.
    """

    label: str
    y: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """
    One chart: lines over the same x; None in a line is a gap.
    """

    title: str
    unit: str
    """What x counts."""
    x: tuple[float, ...]
    lines: tuple[Line, ...]
    floor: float | None = None
    """Where the y axis begins; None follows the values."""
    ceiling: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """
    A held-out question, what was expected and what the model said.
    """

    step: int
    file: str
    prompt: str
    golden: str
    answer: str
    right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FileRow:
    """
    One dropped file.
    """

    key: str
    name: str
    state: str
    """What became of it, in words."""
    version: str | None = None
    """That its job made."""
    rows: str
    note: str | None
    """What a person should know: why it was refused, or what the validation found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """
    What waits, and what came in last.
    """

    counts: tuple[tuple[str, int], ...] = ()
    """What waits: words and how many."""
    jobs: tuple[tuple[str, int], ...] = ()
    """Jobs that are over, likewise."""
    aside: tuple[tuple[str, int], ...] = ()
    """Files that are not trained, likewise."""
    waiting: tuple[tuple[str, str], ...] = ()
    """Files of the inbox that are not read yet, with the reason."""
    files: tuple[FileRow, ...] = ()
    """The newest first."""
    n_files: int = 0
    reviews: int = 0
    """Answers that wait for ``finetuned review``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionLine:
    """
    One version in the lineage.
    """

    name: str
    parent: str | None
    verdict: str
    reason: str
    at: str
    files: tuple[str, ...] = ()
    in_use: bool = False
    head: bool = False
    taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Forgetting:
    """
    Accuracy of each version on each file, shares of 0 to 1; None is not measured.
    """

    versions: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    accuracy: tuple[tuple[float | None, ...], ...] = ()
    transfer: float | None = None
    """Backward transfer in percentage points; negative is forgetting."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """
    One event of logs/supervisor.log.
    """

    at: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class IncidentLine:
    """
    One version that was taken back.
    """

    at: str
    version: str
    back_to: str
    reason: str
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """
    One root at one moment.
    """

    now: Now = field(default_factory=Now)
    curves: tuple[Curve, ...] = ()
    examples: tuple[Example, ...] = ()
    queue: Queue = field(default_factory=Queue)
    versions: tuple[VersionLine, ...] = ()
    """The newest first."""
    forgetting: Forgetting = field(default_factory=Forgetting)
    host: tuple[tuple[str, str], ...] = ()
    log: tuple[LogLine, ...] = ()
    incidents: tuple[IncidentLine, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Parts that could not be read, with the reason; they are shown as they were before."""


def changed(before: Snapshot | None, after: Snapshot) -> Iterator[str]:
    """
    Yield the names of the parts that differ; all of them if there was none before.
    """
    for part in fields(Snapshot):
        if before is None or getattr(before, part.name) != getattr(after, part.name):
            yield part.name
