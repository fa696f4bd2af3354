"""
The head goes on, steps back or moves along: which, follows from names and parents alone.
"""

from __future__ import annotations

import pytest

from finetuned.core.head import (
    NewHead,
    after_harm,
    after_promotion,
    ancestors,
    descends,
    how_left,
)
from finetuned.core.promotion import HeadCause

PARENTS = {"v1": None, "v2": "v1", "v3": "v2", "v4": "v3", "v9": "v1", "a": "b", "b": "a"}


def test_ancestors_are_the_versions_below_nearest_first() -> None:
    """
    A version is not its own ancestor, and damaged records that close a circle end.
    """
    assert ["v3", "v2", "v1"] == ancestors("v4", PARENTS)
    assert [[], [], []] == [ancestors(name, PARENTS) for name in (None, "v1", "unknown")]
    assert ["b"] == ancestors("a", PARENTS)
    assert (True, True, True, False) == (
        descends("v4", "v4", PARENTS),
        descends("v4", "v2", PARENTS),
        descends("v4", None, PARENTS),
        descends("v2", "v4", PARENTS),
    )


@pytest.mark.parametrize(
    ("head", "release", "then"),
    [
        ("v4", "v2", "v4"),  # it has learnt more than the release, and all that it has
        ("v4", "v4", "v4"),
        ("v4", "v9", "v9"),  # another branch: its rows would drop out
        ("v2", "v4", "v4"),
        (None, "v1", "v1"),
    ],
)
def test_a_version_that_a_person_chose_is_in_every_later_head(
    head: str | None, release: str, then: str | None
) -> None:
    """
    The head stays if it descends from it; otherwise it becomes the head.
    """
    assert then == after_promotion(head, release, PARENTS)


@pytest.mark.parametrize(
    ("head", "lost", "then"),
    [
        ("v3", (), "v2"),
        ("v4", (), "v2"),  # what was learnt on top of the harm goes with it
        ("v4", ("v2",), "v1"),
        ("v4", ("v2", "v1"), "v9"),  # nothing below is left: what is in use
        ("v2", (), "v2"),
        ("v9", (), "v9"),
        (None, (), None),
    ],
)
def test_a_head_that_descends_from_harm_steps_below_it(
    head: str | None, lost: tuple[str, ...], then: str | None
) -> None:
    """
    Here v3 did harm. A head that does not descend from it stays where it is.
    """
    found = after_harm(
        head, "v3", release="v9", parents=PARENTS, is_usable=lambda name: name not in lost
    )
    assert then == found


def test_a_version_is_left_by_the_last_decision_that_went_elsewhere() -> None:
    """
    Going on from it leaves nothing; one that the head comes back to is left no more.
    """
    on = [NewHead(name, HeadCause.HELD) for name in ("v1", "v2", "v3", "v4")]
    damage, back = NewHead("v2", HeadCause.FALLBACK), NewHead("v4", HeadCause.PROMOTE)
    branch, base = NewHead("v9", HeadCause.PROMOTE), NewHead(None, HeadCause.ROLLBACK)

    assert {} == how_left(on, PARENTS)
    assert {"v3": damage, "v4": damage} == how_left([*on, damage], PARENTS)
    assert {} == how_left([*on, damage, back], PARENTS)
    assert dict.fromkeys(("v2", "v3", "v4"), branch) == how_left([*on, branch], PARENTS)
    assert {"v3": damage, "v4": damage, "v1": base, "v2": base} == how_left(
        [*on, damage, base], PARENTS
    )
