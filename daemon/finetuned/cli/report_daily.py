"""
``finetuned report daily``: the report of one day, printed, written or sent.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.terminal import complain
from finetuned.core.text import printable

if TYPE_CHECKING:
    from finetuned.config import Config
    from finetuned.layout import Layout
    from finetuned.reports.daily.deliver import Outcome
    from finetuned.reports.daily.make import Made

FORMATS = ("text", "markdown", "html")


def day_of(text: str) -> date:
    """
    Return the day that ``--date`` names.

    Raises:
        argparse.ArgumentTypeError: It is neither a date, nor today, nor yesterday.
    """
    today = date.today()
    if text in ("today", "yesterday"):
        return today if text == "today" else today - timedelta(days=1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date like 2026-11-16, today or yesterday, found {text!r}"
        ) from None


def daily(layout: Layout, args: argparse.Namespace) -> int:
    """
    Print, write or send the report of a day; with ``--due``, do what the daemon would do now.
    """
    from finetuned.config import load_sections
    from finetuned.errors import ConfigError
    from finetuned.files.atomic import write_atomic
    from finetuned.reports.daily.make import make
    from finetuned.reports.daily.post import SECTIONS

    if not layout.journal.is_file():
        raise ConfigError(f"{layout.journal}: there is no journal yet; nothing was ever dropped")
    config, mistakes = load_sections(layout.config, SECTIONS)
    for mistake in mistakes:
        complain("report", mistake)
    if args.due:
        return _due(layout, config, args)
    if args.send and not config.report.to:
        raise ConfigError('report.to names nobody: set it in config.toml, such as to = ["mail"]')
    day = args.date or date.today()
    drawn = args.send or (args.format == "html" and not args.json)
    made = make(layout, day, day, now=datetime.now(), config=config, drawn=drawn)
    outcomes = _send(layout, config, made) if args.send else []
    if args.json:
        _print_json(made, outcomes)
    elif args.output is not None:
        write_atomic(args.output, _written(made, args.format).encode())
        print(args.output)
    elif args.send:
        for outcome in outcomes:
            print(f"{outcome.addressee}: {outcome.problem or 'sent'}")
    else:
        sys.stdout.write(_written(made, args.format))
    return REFUSED if any(outcome.problem for outcome in outcomes) else DONE


def _written(made: Made, form: str) -> str:
    from finetuned.reports.daily.written import as_markdown, as_text

    if form == "html":
        return made.page
    return as_markdown(made.report) if form == "markdown" else as_text(made.report)


def _send(layout: Layout, config: Config, made: Made) -> list[Outcome]:
    """Put the report into the post and try it now; what fails is tried again like any other."""
    from finetuned.files.journal import Journal
    from finetuned.files.lock import held
    from finetuned.reports.daily.deliver import TRY_SECONDS, deliver_due
    from finetuned.reports.daily.make import put_into_post

    lock = held(layout.report_lock, wait_seconds=2 * TRY_SECONDS)
    with lock, closing(Journal(layout.journal)) as journal:
        number = put_into_post(journal, made, config.report)
        return deliver_due(journal, config.report.to, only=number)


def _due(layout: Layout, config: Config, args: argparse.Namespace) -> int:
    from finetuned.reports.daily.post import work

    done = work(layout, config, now=datetime.now())
    if args.json:
        import orjson

        print(orjson.dumps(done).decode())
    else:
        if done.made:
            print("a report was made")
        for outcome in done.outcomes:
            print(f"message {outcome.message} to {outcome.addressee}: {outcome.problem or 'sent'}")
        if not done.made and not done.outcomes and done.problem is None:
            print("nothing is due")
    if done.problem is not None:
        complain("report", printable(done.problem))
    failed = done.problem is not None or any(outcome.problem for outcome in done.outcomes)
    return REFUSED if failed else DONE


def _print_json(made: Made, outcomes: list[Outcome]) -> None:
    import orjson

    found = {
        "facts": made.facts,
        "recommendations": made.report.recommendations,
        "deliveries": outcomes,
    }
    print(orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS).decode())
