"""
The part of a version's page that says what its files cost and whether they were needed.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from finetuned.config import load_sections
from finetuned.core.retention import version_number
from finetuned.core.text import visible
from finetuned.core.worth import needed
from finetuned.errors import FinetunedError
from finetuned.files.journal_view import JournalView
from finetuned.layout import Layout
from finetuned.reports.activity import duration
from finetuned.reports.wording import count
from finetuned.reports.worth import FileWorth, Worths
from finetuned.reports.worth_words import (
    WORTHS,
    change_of,
    energy_of,
    money_of,
    near_of,
    price_of,
)

MOST_FILES = 40
"""Files of one job that a page shows; the rest are only counted."""


@dataclass(frozen=True, slots=True)
class WorthRow:
    """
    One file of the job.
    """

    name: str
    rows: str
    share: str
    time: str
    energy: str
    cost: str
    gained: str
    """On its own held-out rows, in points."""
    point: str
    """The price of a point."""
    near: str
    worth: str
    """Whether it was worth it, in one word or a few."""
    needed: str
    notes: str


@dataclass(frozen=True, slots=True)
class WorthSection:
    """
    What the page shows.
    """

    sentences: tuple[str, ...]
    rows: tuple[WorthRow, ...] = ()


def worth_section(layout: Layout, version: str) -> WorthSection:
    """
    Return what the job of *version* cost. What cannot be known is a sentence, never an error.
    """
    try:
        config, _ = load_sections(layout.config, ("costs",))
        with closing(JournalView(layout.journal)) as view:
            worths = Worths(layout, view, config.costs)
            job = next((j for j in worths.jobs.values() if j.version == version), None)
            if job is None or version_number(version) is None:
                return WorthSection(("No job of this version is known, so its cost is not known.",))
            datasets = worths.of_job(job.id)
            near = worths.look_for(datasets[:MOST_FILES])
            files = [worths.of(row, near, whole=False) for row in datasets[:MOST_FILES]]
            cost = worths.costs.of(job.id)
    except (FinetunedError, OSError, sqlite3.Error) as error:
        return WorthSection((f"What it cost is not known: {visible(error)}",))
    currency = config.costs.currency
    sentences = [
        f"{count(cost.runs, 'run')} of {duration(cost.seconds)} together, {energy_of(cost)},"
        f" {price_of(cost, currency)}."
    ]
    if cost.estimated:
        sentences.append("~ marks energy that is estimated from time and assumed power.")
    if cost.unmetered:
        sentences.append(f"The energy of {count(cost.unmetered, 'run')} was not measured.")
    if len(files) > 1:
        sentences.append(
            "The files were trained together: each has its share of the cost by its tokens, and"
            " what changed is the work of all of them."
        )
    if len(datasets) > len(files):
        sentences.append(f"{len(datasets) - len(files)} more files are not shown.")
    return WorthSection(tuple(sentences), tuple(_row(file, currency) for file in files))


def _row(file: FileWorth, currency: str) -> WorthRow:
    point = file.price_of_a_point
    return WorthRow(
        name=visible(file.name),
        rows="-" if file.rows is None else f"{file.rows:,}",
        share="-" if file.share is None else f"{100 * file.share:.1f}%",
        time=duration(file.cost.seconds),
        energy=energy_of(file.cost),
        cost=price_of(file.cost, currency),
        gained=change_of(file.own),
        point="-" if point is None else money_of(point, currency),
        near=near_of(file.near),
        worth="-" if file.worth is None else WORTHS[file.worth],
        needed="-" if file.before is None else needed(file.before, file.near_share),
        notes="; ".join(visible(note) for note in file.notes),
    )
