"""
The process that makes a daily report and sends what waits: a child of the daemon, or of a timer.

One at a time per root, by a lock. It is given no work but the journal's, so that it can be
killed at any moment and started again.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import structlog

from finetuned.config import Config, load_sections
from finetuned.core.text import visible
from finetuned.core.timetable import days_due
from finetuned.errors import EXIT_OK, EXIT_SOFTWARE, EXIT_TEMPFAIL, FinetunedError, LockHeld
from finetuned.files.journal import Journal
from finetuned.files.lock import FileLock
from finetuned.layout import Layout
from finetuned.reports.daily.deliver import Outcome, deliver_due
from finetuned.reports.daily.make import make, record_daily, write_pages
from finetuned.reports.daily.status import NOT_SENT
from finetuned.telemetry.log import configure

log = structlog.get_logger()

SECTIONS = ("report", "supervisor", "costs")
"""Of config.toml; mistakes in others must not keep a report from being sent."""


@dataclass(frozen=True, slots=True)
class Done:
    """
    What one call did.
    """

    made: bool
    """Whether a daily report was made."""
    problem: str | None
    """Why one that is due could not be made; None if it was, or if none is due."""
    outcomes: list[Outcome]


def work(layout: Layout, config: Config, *, now: datetime) -> Done:
    """
    Make the daily report that is due, if one is, and try every message that waits.

    Args:
        layout: The root; it has a journal.
        config: Its configuration.
        now: Local wall clock.

    Raises:
        LockHeld: Another process is at it.
        FinetunedError, OSError, sqlite3.OperationalError: The journal cannot be used.
    """
    with FileLock(layout.report_lock), closing(Journal(layout.journal)) as journal:
        made, problem = False, None
        try:
            made = _make_due(layout, config, journal, now)
        except Exception as error:  # whatever it is, messages that wait are sent all the same
            problem = f"{type(error).__name__}: {error}"
            log.exception("daily_report_failed", error=problem)
        return Done(made, problem, deliver_due(journal, config.report.to))


def _make_due(layout: Layout, config: Config, journal: Journal, now: datetime) -> bool:
    known = journal.messages.last_daily()
    last = None if known is None else date.fromisoformat(known.last_day)
    due = days_due(now, at=config.report.daily_at, last=last)
    if due is None:
        return False
    made = make(layout, *due, now=now, config=config)
    try:
        write_pages(layout, made)
    except OSError as error:  # a full disk must not keep the mail that says so
        log.warning("daily_report_not_written", error=str(error))
    return record_daily(journal, made, config.report)


def main(argv: list[str] | None = None) -> int:
    """
    Make the report that is due and send what waits.

    Returns:
        0 if all of it worked, 1 if a message was not sent, 70 if the report could not be made, 75
        if another process is at it; or the exit status of the error, which is printed.
    """
    parser = argparse.ArgumentParser(prog="finetuned.reports.daily.post", description=main.__doc__)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    layout = Layout(args.root.resolve())
    os.environ.setdefault("MPLCONFIGDIR", str(layout.reports / ".matplotlib"))
    configure(layout.logs / "report.log" if layout.logs.is_dir() else None, console=False)
    try:
        config, mistakes = load_sections(layout.config, SECTIONS)
        for mistake in mistakes:
            log.warning("config_rejected", error=mistake)
        done = work(layout, config, now=datetime.now())
    except LockHeld:
        return EXIT_TEMPFAIL
    except FinetunedError as error:
        print(visible(error), file=sys.stderr)
        return error.exit_status
    except (OSError, sqlite3.OperationalError) as error:
        print(visible(error), file=sys.stderr)
        return EXIT_TEMPFAIL
    if done.problem is not None:
        print(visible(done.problem), file=sys.stderr)
        return EXIT_SOFTWARE
    return EXIT_OK if all(outcome.problem is None for outcome in done.outcomes) else NOT_SENT


if __name__ == "__main__":
    sys.exit(main())
