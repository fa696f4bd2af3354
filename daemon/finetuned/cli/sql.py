"""
``finetuned sql``: a question to the journal, in SQL.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.terminal import complain
from finetuned.cli.verb import UsageError, Verb, add_common
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.files.journal_query import Answer, Value
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned sql --views                     the views and their columns
  finetuned sql "SELECT version, suite, right, asked FROM scores WHERE subject = 'candidate'"
  finetuned sql --csv "SELECT * FROM costs" > all-runs.csv
  finetuned sql --json "SELECT * FROM incidents ORDER BY at DESC LIMIT 5" | jq .rows

The views are jobs, files, versions, scores, costs and incidents; the tables of the journal
can be read as main.NAME. Only reading is possible, while the daemon works and while it does not.

exit status: 0 done, 1 refused (not SQL, not reading, too slow), 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("query", nargs="?", metavar="SELECT", help="the question")
    parser.add_argument("--views", action="store_true", help="list the views and their columns")
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="give up after (default 10)"
    )
    parser.add_argument(
        "--rows", type=int, default=10_000, metavar="N", help="at most so many (default 10000)"
    )


def _plain(value: Value) -> str | int | float | None:
    """Return a value as JSON, a table and CSV can hold it: bytes as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _print_table(answer: Answer) -> None:
    from finetuned.core.text import printable

    shown = [
        ["" if value is None else printable(str(_plain(value))) for value in row]
        for row in answer.rows
    ]
    widths = [
        max(len(name), *(len(row[i]) for row in shown)) if shown else len(name)
        for i, name in enumerate(answer.columns)
    ]
    for row in [list(answer.columns), ["-" * width for width in widths], *shown]:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _print(answer: Answer, args: argparse.Namespace) -> None:
    if args.json:
        import orjson

        rows = [
            {name: _plain(v) for name, v in zip(answer.columns, row, strict=True)}
            for row in answer.rows
        ]
        print(orjson.dumps({"columns": answer.columns, "rows": rows, "more": answer.more}).decode())
    elif args.csv:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows([_plain(value) for value in row] for row in answer.rows)
    else:
        _print_table(answer)
    if answer.more:
        complain("sql", f"only the first {len(answer.rows)} rows are shown; --rows shows more")


def _sql(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.config import load_sections
    from finetuned.files.journal_query import VIEWS, JournalQuery
    from finetuned.reports.worth import prices_of

    config, _ = load_sections(layout.config, ("costs",))
    if not layout.journal.exists():
        raise DatasetError(f"{layout.journal}: there is no journal yet: no daemon ever ran here")
    with closing(JournalQuery(layout.journal, prices_of(config.costs))) as journal:
        if not args.views:
            _print(journal.ask(args.query, seconds=args.seconds, most=args.rows), args)
            return DONE
        for name, (what, _) in VIEWS.items():
            print(f"{name}: {what}\n  {', '.join(journal.columns_of(name))}")
    return DONE


def _run(args: argparse.Namespace) -> int:
    if (args.query is None) == (not args.views):
        raise UsageError("give one SELECT in quotes, or --views")
    if args.csv and args.json:
        raise UsageError("--csv and --json exclude each other")
    if args.rows < 1 or not args.seconds > 0:
        raise UsageError("--rows and --seconds must be above 0")
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.files.journal_query
    import finetuned.reports.worth  # noqa: F401

    return on_root(args, _sql)


VERB = Verb(
    name="sql",
    summary="Ask the journal a question in SQL, reading only.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
