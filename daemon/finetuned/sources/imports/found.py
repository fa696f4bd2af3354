"""
What a reader of a kind yields: rows with where they were found, and refusals with the reason.

Pure values. Knows neither files nor kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from finetuned.core.review import Reason, Thumbs


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where something was found.
    """

    file: str
    """Name of the file, or its path below the folder that was named."""
    line: int
    """From 1; of a chat export the number of the message's conversation."""
    part: str = ""
    """Which part of that: the path of a task in its playbook, the number of a turn."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.part})" if self.part else "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    Something that does not become a row.
    """

    place: Place
    reason: str
    """One word by which refusals are counted, such as ``no_answer``."""
    detail: str
    """One sentence: what was found, and what to do if something can be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRow:
    """
    Something that may become a row, and all that its source says of whether it is right.
    """

    place: Place
    row: dict[str, object]
    """In a format that training reads, without provenance; secrets may be in it."""
    confidence: float | None = None
    """0 to 1 as the source gives it; None if the source does not know."""
    verified: bool = False
    """Whether the source says that a person confirmed the answer."""
    reasons: tuple[Reason, ...] = ()
    """Why a person should look, whatever the confidence is."""
    thumbs: Thumbs | None = None
    proposed: str | None = None
    """Another answer than the row's that the source proposes and nobody confirmed."""
    comment: str | None = None
    had_secrets: bool = False
    """Whether the reader replaced a secret already."""
    at: str | None = None
    """RFC 3339, if the source says when."""
    model: str | None = None
    """What answered, if the source says so."""
    facts: dict[str, object] = field(default_factory=dict)
    """What else belongs to the provenance, as JSON."""


Found = FoundRow | Refusal


@dataclass(frozen=True, slots=True)
class Source:
    """
    What a reader is given.
    """

    path: Path
    """A file, or for kinds that take one a folder."""
    max_bytes: int
    """Longest row, in bytes."""
    table: str = "ai_decisions"
    """Which table of a database dump is read."""
    on_progress: Callable[[int], object] = lambda _n: None
    """Is given how many bytes of all are read."""


Reader = Callable[[Source], Iterator[Found]]
"""Yields everything that *source* holds, in its order. Raises CannotImport if it is not whole."""
