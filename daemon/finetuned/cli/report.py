"""
``finetuned report``: the page of a version's eval report, and the report of a day.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.report_daily import FORMATS, daily, day_of
from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.core.text import printable
from finetuned.errors import FinetunedError

if TYPE_CHECKING:
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned report                          the version in use
  finetuned report v0003                    a certain version, promoted or not
  finetuned report v0003 --output v3.html   to a file of your choice
  finetuned report --all                    every version
  finetuned report daily                    what happened today, so far
  finetuned report daily --date yesterday   the day before, or a date like 2026-11-16
  finetuned report daily --format html --output day.html
  finetuned report daily --send             to everybody in report.to, now
  finetuned report daily --due              make the report that is due, send what waits

A page is one file that refers to no other: it can be mailed, or opened from disk. It goes to
models/reports/VERSION.html. The report of a day is printed.

exit status: 0 done, 1 a page could not be made (nothing half-written) or a message not
sent (it is tried again), 2 wrong usage
"""


DAILY = "daily"
"""In the place of a version: the report of a day. No version has such a name."""


def _configure(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "version", nargs="?", help=f"default: the version in use; {DAILY}: a day instead of one"
    )
    which.add_argument("--all", action="store_true", help="every version's page")
    add_common(parser)
    parser.add_argument(
        "--output",
        type=named_file,
        metavar="FILE",
        help="default: models/reports/<version>.html; of a day: printed",
    )
    day = parser.add_argument_group(f"of a day: finetuned report {DAILY}")
    day.add_argument("--date", type=day_of, metavar="DAY", help="default: today, so far")
    day.add_argument("--format", choices=FORMATS, help="default: text")
    doing = day.add_mutually_exclusive_group()
    doing.add_argument("--send", action="store_true", help="send it to everybody in report.to")
    doing.add_argument(
        "--due",
        action="store_true",
        help="make the report that report.daily_at asks for, and send every message that waits",
    )


@dataclass(slots=True)
class _Made:
    """
    What came of each version.
    """

    pages: dict[str, str] = field(default_factory=dict)
    """Version -> file."""
    problems: dict[str, str] = field(default_factory=dict)
    """Version, or empty if there is none -> why there is no page."""


def _make(layout: Layout, args: argparse.Namespace) -> _Made:
    # Late: matplotlib takes a second.
    from finetuned.cli.version_answer import chosen
    from finetuned.files.atomic import write_atomic
    from finetuned.registry.versions import list_versions
    from finetuned.reports.page import page_of, render_version

    made = _Made()
    output: Path | None = args.output
    try:
        for version in list_versions(layout) if args.all else [chosen(layout, args.version)]:
            try:
                if output is None:
                    made.pages[version] = shown(render_version(layout, version))
                else:
                    write_atomic(output, page_of(layout, version))
                    made.pages[version] = shown(output)
            except FinetunedError as error:
                made.problems[version] = printable(str(error))
    except (FinetunedError, OSError) as error:
        made.problems["" if args.all else args.version or ""] = printable(str(error))
    return made


def _report(layout: Layout, args: argparse.Namespace) -> int:
    made = _make(layout, args)
    if args.json:
        import orjson

        print(orjson.dumps({"pages": made.pages, "problems": made.problems}).decode())
    elif made.pages:
        print("\n".join(made.pages.values()))
    for problem in made.problems.values():
        complain("report", problem)
    if args.all and not made.pages and not made.problems:
        print("no versions yet", file=sys.stderr)
    return REFUSED if made.problems else DONE


def _run(args: argparse.Namespace) -> int:
    if args.all and args.output:
        raise UsageError("--output takes one version, not --all")
    of_a_day = args.date or args.format or args.send or args.due
    if args.version != DAILY and of_a_day:
        raise UsageError(f"--date, --format, --send and --due are for: finetuned report {DAILY}")
    if args.due and (args.date or args.format or args.output):
        raise UsageError("--due sends what is due: it takes no --date, --format or --output")
    if args.send and (args.format or args.output):
        raise UsageError("--send takes no --format or --output: each service gets its own form")
    if args.version == DAILY:
        # Before on_root(), as below.
        import finetuned.files.journal
        import finetuned.reports.daily.post

        args.format = args.format or FORMATS[0]
        return on_root(args, daily)
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.reports.page  # noqa: F401

    return on_root(args, _report)


VERB = Verb(
    name="report",
    summary="Make the page of a version, or the report of a day.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
