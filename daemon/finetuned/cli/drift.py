"""
``finetuned drift``: what users ask and get, and new files, beside the training and days before.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING

from finetuned.cli.report_daily import day_of
from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.verb import UsageError, Verb, add_common
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.layout import Layout

DAYS = 7
"""Days that are looked at if none is named."""

DETAILS = f"""examples:
  finetuned drift                        the last {DAYS} days
  finetuned drift --since 2026-11-16     from that day on, 60 days at most
  finetuned drift --json | jq '.outputs[] | {{measure, since, before, now}}'

Inputs are compared with the rows that the version in use has learnt, and with the days before;
outputs with the days before. Requests are known only while the service records them ([serving]
record). A difference is shown if a test shows it after the correction for all tests made, and if
it is large. Prompts of users are printed, with secrets replaced.

exit status: 0 nothing moved, or it moved back, 1 something moved or nothing can be read,
2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "--since",
        type=day_of,
        metavar="DATE",
        help=f"the first local day, such as 2026-11-16 or yesterday (default: {DAYS - 1} days ago)",
    )


def _drift(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.terminal import complain
    from finetuned.config import load_sections
    from finetuned.core.text import printable
    from finetuned.files.journal_view import JournalView
    from finetuned.reports.drift.look import look
    from finetuned.reports.drift.words import as_json, as_text

    today = date.today()
    first = args.since or today - timedelta(days=DAYS - 1)
    if first > today:
        raise UsageError(f"--since {first} is not over yet: today is {today}")
    if not layout.journal.is_file():
        raise DatasetError(f"nothing was dropped into {layout.inbox} yet: no daemon ever ran here")
    config, mistakes = load_sections(layout.config, ("serving",))
    for mistake in mistakes:
        complain("drift", mistake)
    with closing(JournalView(layout.journal)) as view:
        try:
            found = look(layout, view, first, today)
        except ValueError as error:
            raise DatasetError(f"{layout.feedback}: a request cannot be read: {error}") from error
    notes = []
    if not config.serving.record:
        notes.append(
            "requests are not recorded now: set record = true in [serving] of config.toml to know "
            "what is asked and answered"
        )
    elif not layout.feedback.is_file():
        notes.append("no request was recorded yet: finetuned serve records them")
    elif not found.requests:
        notes.append("no request was recorded in these days")
    if args.json:
        whole = as_json(found)
        print(orjson.dumps({**whole, "notes": [*notes, *found.notes]}).decode())
    else:
        lines = as_text(found).split("\n") + [f"- {note}" for note in notes]
        print("\n".join(printable(line) for line in lines))
    return REFUSED if found.now else DONE


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.config
    import finetuned.files.journal_view
    import finetuned.reports.drift.look
    import finetuned.reports.drift.words  # noqa: F401

    return on_root(args, _drift)


VERB = Verb(
    name="drift",
    summary="Say what moved: prompts, answers and new files beside the training.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
