"""
Where the lines of a lineage run, beside a list of versions.

Pure: versions and their parents in, lanes out. Does not know what a line looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Child(Protocol):
    """
    A version that was trained on another one.
    """

    @property
    def name(self) -> str: ...
    @property
    def parent(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Rail:
    """
    The lines beside one version of the list. Lanes are counted from 0, from the left.
    """

    lane: int
    """Of the version itself."""
    above: tuple[int, ...]
    """Lanes from which lines of its children come in."""
    through: tuple[int, ...]
    """Lanes of other versions' lines, which pass by."""
    below: bool
    """Whether its line goes on to its parent."""


def rails(versions: Sequence[Child]) -> list[Rail]:
    """
    Return the lines beside each version.

    Args:
        versions: The newest first. A parent that comes before its child is not followed.
    """
    waits: list[str | None] = []  # by lane: the version that its line leads to
    known = {version.name for version in versions}
    found = []
    for version in versions:
        above = tuple(n for n, name in enumerate(waits) if name == version.name)
        lane = above[0] if above else waits.index(None) if None in waits else len(waits)
        if lane == len(waits):
            waits.append(None)
        for n in above:
            waits[n] = None
        through = tuple(n for n, name in enumerate(waits) if name is not None)
        known.discard(version.name)
        below = version.parent in known
        waits[lane] = version.parent if below else None
        found.append(Rail(lane, above, through, below))
    return found
