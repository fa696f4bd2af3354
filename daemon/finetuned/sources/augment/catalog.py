"""
The transforms by name, and which of them a row can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from finetuned.sources.augment import puzzles, surface, values, wording
from finetuned.sources.augment.transform import Transform

TRANSFORMS: Final[Mapping[str, Transform]] = {
    transform.name: transform
    for transform in (
        puzzles.CLUES,
        puzzles.TILES,
        wording.SYNONYMS,
        wording.PHRASING,
        surface.CASING,
        surface.TYPOS,
        surface.SPACING,
        values.VALUES,
    )
}
"""All that need no model."""

FOR_PUZZLES: Final = frozenset({puzzles.CLUES.name, puzzles.TILES.name})
"""A puzzle has these alone, and nothing else has them."""


def chosen(names: Iterable[str] | None) -> tuple[Transform, ...]:
    """
    Return the transforms of these names, all if None.

    Raises:
        ValueError: There is no such transform.
    """
    if names is None:
        return tuple(TRANSFORMS.values())
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in TRANSFORMS:
            raise ValueError(f"no transform {name!r}; there are {', '.join(TRANSFORMS)}")
    return tuple(TRANSFORMS[name] for name in wanted)
