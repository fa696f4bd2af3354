"""
What the files of some days were worth, and what their runs cost, for the daily report.
"""

from __future__ import annotations

from collections.abc import Collection

from finetuned.config import CostsConfig
from finetuned.core.cost import Cost
from finetuned.core.daily import CostFact, WorthFact
from finetuned.files.journal_view import JournalView
from finetuned.layout import Layout
from finetuned.reports.activity import duration
from finetuned.reports.job_costs import job_costs
from finetuned.reports.wording import count
from finetuned.reports.worth import FileWorth, Worths, prices_of
from finetuned.reports.worth_words import (
    before_of,
    change_of,
    energy_of,
    money_of,
    near_of,
    price_of,
)

MOST_FILES = 40
"""Files of some days whose rows are looked at; of more it is not said what they were worth."""


def file_worths(
    layout: Layout, journal: JournalView, config: CostsConfig, keys: Collection[str]
) -> dict[str, WorthFact]:
    """
    Return what files were worth, by key; without those that no evaluation asked about.

    Raises:
        sqlite3.Error, CorruptRow: The journal cannot be read.
    """
    worths = Worths(layout, journal, config)
    rows = [row for row in worths.datasets if row.key in keys][:MOST_FILES]
    if not rows:
        return {}
    near = worths.look_for(rows)
    files = (worths.of(row, near, whole=False) for row in rows)
    facts = ((file.key, _fact(file, config.currency)) for file in files)
    return {key: fact for key, fact in facts if fact is not None}


def _fact(file: FileWorth, currency: str) -> WorthFact | None:
    own, worth = file.own, file.worth
    if own is None or worth is None:
        return None
    right, now = round(own.before * own.asked), round(own.after * own.asked)
    evidence = (
        f"of {own.asked} held-out rows {right} were answered right before and {now} after"
        f" (change {change_of(own)} points)"
    )
    if file.near is not None and file.near.near:
        evidence += f"; {near_of(file.near)} of its rows are nearly rows that came before"
    point = file.price_of_a_point
    return WorthFact(
        worth=worth,
        evidence=evidence,
        cost=price_of(file.cost, currency),
        before=before_of(file.before),
        change=change_of(own),
        point="-" if point is None else money_of(point, currency),
        near=near_of(file.near),
    )


def cost_facts(
    journal: JournalView, config: CostsConfig, begin: str, end: str
) -> tuple[CostFact, ...]:
    """
    Return what the runs that began in a span cost, and all runs; nothing if there was none.

    Args:
        journal: Only read.
        config: Prices.
        begin: RFC 3339 UTC.
        end: Likewise, not included.

    Raises:
        sqlite3.Error, CorruptRow: The journal cannot be read.
    """
    runs, usage, prices = journal.history.runs(), journal.usage.all(), prices_of(config)
    everything = job_costs(runs, usage, prices)
    if not everything.all.runs:
        return ()
    found = job_costs([run for run in runs if begin <= run.started_at < end], usage, prices)
    facts = [
        CostFact("Runs of these days", _words(found.all, config.currency)),
        CostFact("All runs so far", _words(everything.all, config.currency)),
    ]
    if everything.all.estimated:
        facts.append(CostFact("~", "estimated from processor time: cpu_core_watts in [costs]"))
    if everything.all.unmetered:
        facts.append(
            CostFact("?", f"energy of {count(everything.all.unmetered, 'run')} was not measured")
        )
    return tuple(facts)


def _words(cost: Cost, currency: str) -> str:
    if not cost.runs:
        return "none"
    return (
        f"{count(cost.runs, 'run')}, {duration(cost.seconds)}, {energy_of(cost)}, "
        f"{price_of(cost, currency)}"
    )
