"""
CONTRIBUTING.md sends nobody to a place that is not there.
"""

from __future__ import annotations

import re

import pytest

from support.pages import CHECKOUT

TEXT = (CHECKOUT / "CONTRIBUTING.md").read_text()
PLACES = sorted(
    set(re.findall(r"`((?:daemon|docs|experiments|tests|tools)/[^` ]*|README\.md)`", TEXT))
)


def test_places_are_named():
    """
    The law below would hold of an empty list.
    """
    assert len(PLACES) > 20


@pytest.mark.parametrize("place", PLACES)
def test_a_named_place_exists(place):
    """
    A file that is moved or divided takes its line along.
    """
    assert (CHECKOUT / place).exists()


@pytest.mark.parametrize(
    "part",
    ["scorer", "row format", "order", "gate rule", "log event", "configuration key", "verb"],
)
def test_the_usual_parts_have_a_line(part):
    """
    Whoever adds one of these reads one line and begins.
    """
    assert re.search(rf"^\| {part}\b", TEXT, re.MULTILINE)
