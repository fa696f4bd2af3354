"""
The daily report of some days: collected, written below models/reports/daily/, put into the post.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import structlog

from finetuned.config import Config, ReportConfig
from finetuned.core.daily import DailyFacts
from finetuned.files.atomic import write_atomic
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.reports.daily.collect import collect
from finetuned.reports.daily.letter import by_content_id, inside, letter
from finetuned.reports.daily.message import Message, packed
from finetuned.reports.daily.picture import draw
from finetuned.reports.daily.sections import DailyReport, daily_report
from finetuned.reports.daily.written import as_markdown, as_short, as_text

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Made:
    """
    A report in every form.
    """

    facts: DailyFacts
    report: DailyReport
    picture: bytes | None

    @property
    def page(self) -> str:
        """For a browser: one file that refers to no other."""
        return letter(self.report, picture=None if self.picture is None else inside(self.picture))

    @property
    def message(self) -> Message:
        """For the post."""
        return Message(
            text=as_text(self.report),
            markdown=as_markdown(self.report),
            short=as_short(self.report),
            html=letter(self.report, picture=None if self.picture is None else by_content_id()),
        )


def make(
    layout: Layout,
    first: date,
    last: date,
    *,
    now: datetime,
    config: Config,
    drawn: bool = True,
) -> Made:
    """
    Return the report of the local days *first* to *last*.

    Args:
        layout: The root.
        first: Local date.
        last: Likewise, included.
        now: Local wall clock.
        config: Of the root; its sections report, supervisor and costs are used.
        drawn: Whether the curves are drawn, which takes a second or two.

    Raises:
        FileNotFoundError, ConfigError, ModelError, sqlite3.OperationalError: As collect.
    """
    facts = collect(
        layout,
        first,
        last,
        now=now,
        reserve_bytes=config.supervisor.disk_reserve_bytes,
        to=config.report.to,
        prices=config.costs,
    )
    return Made(facts, daily_report(facts), draw(facts.jobs) if drawn else None)


def write_pages(layout: Layout, made: Made) -> Path:
    """
    Write the report as a page and as text; return the page.

    Raises:
        OSError: The file system refused.
    """
    folder, name = layout.daily_reports, made.facts.last.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    # No fsync: the report can be made again at any time.
    write_atomic(folder / f"{name}.txt", as_text(made.report).encode(), durable=False)
    write_atomic(folder / f"{name}.html", made.page.encode(), durable=False)
    return folder / f"{name}.html"


def put_into_post(journal: Journal, made: Made, config: ReportConfig) -> int | None:
    """
    Write the report to everybody in ``report.to``; return the message's number, None for nobody.
    """
    if not config.to:
        return None
    return journal.messages.add(made.report.title, packed(made.message), made.picture, config.to)


def record_daily(journal: Journal, made: Made, config: ReportConfig) -> bool:
    """
    Put the report of a day into the post and record the day, in one transaction.

    Returns:
        False if the day was recorded already; then nothing was written.
    """
    first, last = made.facts.first, made.facts.last
    with journal.together():
        known = journal.messages.last_daily()
        if known is not None and known.last_day >= last.isoformat():
            return False
        number = put_into_post(journal, made, config)
        journal.messages.add_daily(first, last, number)
    log.info(
        "daily_report_made", first_day=first.isoformat(), last_day=last.isoformat(), message=number
    )
    return True
