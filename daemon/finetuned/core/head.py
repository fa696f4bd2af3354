"""
Where the head goes when the release changes: it goes on, steps back, or moves along.

The head is the version that the next job starts from; the release is the one in use. Names
of versions and their parents go in; None is the base model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from finetuned.core.promotion import HeadCause

Parents = Mapping[str, str | None]
"""Version -> the version it was trained on; None is the base model."""


@dataclass(frozen=True, slots=True)
class NewHead:
    """
    A decision on the head.
    """

    version: str | None
    cause: HeadCause


def ancestors(version: str | None, parents: Parents) -> list[str]:
    """
    Return what *version* was trained on, nearest first. A circle in damaged records ends.
    """
    found: list[str] = []
    below = None if version is None else parents.get(version)
    while below is not None and below != version and below not in found:
        found.append(below)
        below = parents.get(below)
    return found


def descends(version: str | None, ancestor: str | None, parents: Parents) -> bool:
    """
    Return whether *version* is *ancestor*, or was trained on top of it; all are on the base model.
    """
    return ancestor in (None, version) or ancestor in ancestors(version, parents)


def how_left(decisions: Iterable[NewHead], parents: Parents) -> dict[str, NewHead]:
    """
    Return, for each version that the head once descended from and no longer does, why not.

    Args:
        decisions: Every decision on the head, oldest first.
        parents: Of every version.

    Returns:
        Version -> the last decision that left it.
    """
    left: dict[str, NewHead] = {}
    head: str | None = None
    for decision in decisions:
        new = decision.version
        if new is not None and parents.get(new) == head:  # one step on: nothing is left
            left.pop(new, None)
        else:
            after = _with_ancestors(new, parents)
            left |= dict.fromkeys(_with_ancestors(head, parents) - after, decision)
            for name in after:
                left.pop(name, None)
        head = new
    return left


def _with_ancestors(version: str | None, parents: Parents) -> set[str]:
    return set() if version is None else {version, *ancestors(version, parents)}


def after_promotion(head: str | None, release: str, parents: Parents) -> str | None:
    """
    Return the head after a person put *release* in use.

    A head that descends from it has learnt everything that it has, and stays. Any other
    would go on without the rows that the person chose: the release becomes the head.
    """
    return head if descends(head, release, parents) else release


def after_harm(
    head: str | None,
    harmful: str,
    *,
    release: str | None,
    parents: Parents,
    is_usable: Callable[[str], bool],
) -> str | None:
    """
    Return the head after *harmful* was taken out of use because it did harm.

    A head that descends from it carries the harm on. It steps back to the nearest version
    below the harmful one that can be used, or to *release*, which is in use from then on.
    """
    if not descends(head, harmful, parents):
        return head
    return next(filter(is_usable, ancestors(harmful, parents)), release)
