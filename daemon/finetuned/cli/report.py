"""
``finetuned report``: the page of a version's eval report.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

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

A page is one file that refers to no other: it can be mailed, or opened from disk. It goes to
models/reports/VERSION.html.

exit status: 0 done, 1 a page could not be made (nothing half-written), 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("version", nargs="?", help="default: the version in use")
    which.add_argument("--all", action="store_true", help="every version's page")
    add_common(parser)
    parser.add_argument(
        "--output",
        type=named_file,
        metavar="FILE",
        help="default: models/reports/<version>.html",
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
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.reports.page  # noqa: F401

    return on_root(args, _report)


VERB = Verb(
    name="report",
    summary="Make the page of a version: why it was promoted or rejected.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
