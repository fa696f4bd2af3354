"""
Where generated text stands in a page, and how it is replaced.

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end: NAME -->``; the text
around it is written by hand and never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.pages.actions import actions
from experiments.pages.commands import commands
from experiments.pages.events import events
from experiments.pages.fields import report_fields, status_fields
from experiments.pages.intents import intents
from experiments.pages.metrics import alerts, metrics
from experiments.pages.orders import orders
from experiments.pages.row_keys import row_keys, turn_keys
from experiments.pages.settings import settings
from experiments.pages.tree import CHECKOUT, tree

WHOLE: Final = ""


@dataclass(frozen=True, slots=True)
class Part:
    """
    One generated part of one page.
    """

    page: str
    """Path of the page, relative to the checkout."""

    name: str
    """Name of the part, as it stands in its marks; WHOLE for a file without marks."""

    expected: Callable[[], str]
    """Returns the text that the code asks for."""

    @property
    def path(self) -> Path:
        """The page on disk."""
        return CHECKOUT / self.page

    def current(self) -> str:
        """
        Return the text between the marks.

        Raises:
            ValueError: The page lacks one of the marks.
        """
        return _split(self)[1]


PARTS = (
    Part("README.md", "tree", tree),
    Part("docs/how-to/watch-with-prometheus.md", "alerts", alerts),
    Part("docs/reference/commands.md", "commands", commands),
    Part("docs/reference/config.md", "config", settings),
    Part("docs/reference/eval-report.md", "eval-report", report_fields),
    Part("docs/reference/events.md", "events", events),
    Part("docs/reference/formats.md", "row-keys", row_keys),
    Part("docs/reference/formats.md", "turn-keys", turn_keys),
    Part("docs/reference/infrastructure-commands.md", "actions", actions),
    Part("docs/reference/intents.schema.json", WHOLE, intents),
    Part("docs/reference/metrics.md", "metrics", metrics),
    Part("docs/reference/orders.md", "orders", orders),
    Part("docs/reference/status.md", "status", status_fields),
)
"""Every generated part of every page."""


def write_part(part: Part) -> None:
    """
    Replace the text between the marks of *part* by what the code asks for.
    """
    before, _, after = _split(part)
    part.path.write_text(before + part.expected() + after)


def _split(part: Part) -> tuple[str, str, str]:
    """Return what stands before, between and after the marks; the marks are not between."""
    if part.name == WHOLE:
        return "", part.path.read_text() if part.path.exists() else "", ""
    begin, end = f"<!-- generated: {part.name} -->\n", f"<!-- end: {part.name} -->\n"
    text = part.path.read_text()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{part.page} must hold {begin.strip()} and {end.strip()} once each")
    start = text.index(begin) + len(begin)
    stop = text.index(end)
    return text[:start], text[start:stop], text[stop:]
