"""
``finetuned worth``: what each dropped file cost, and what its training changed.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.terminal import complain
from finetuned.cli.verb import Verb, add_common
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned worth                            every file that was dropped, one line each
  finetuned worth --dataset my_rows.jsonl    one file, with every suite; by its name or its key
  finetuned worth --json | jq '.files[] | {name, cost: .cost.money, points: .effects[0].points}'

The change is that of the share of right answers on the file's own held-out rows, in percentage
points with its 95% interval, from the model that was trained on to the one that was made. Files
that were trained together share the cost by their tokens. Prices are in [costs] of config.toml.

exit status: 0 done, 1 no such file, or the journal cannot be read, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "--dataset", metavar="KEY_OR_NAME", help="one file, with every suite (default: all files)"
    )


def _worth(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli import worth_table
    from finetuned.config import load_sections
    from finetuned.files.journal_view import JournalView
    from finetuned.reports.business import business_of
    from finetuned.reports.worth import Worths

    config, mistakes = load_sections(layout.config, ("costs",))
    for mistake in mistakes:
        complain("worth", mistake)
    currency = config.costs.currency
    if not layout.journal.exists():
        raise DatasetError(f"nothing was dropped into {layout.inbox} yet: no daemon ever ran here")
    with closing(JournalView(layout.journal)) as view:
        worths = Worths(layout, view, config.costs)
        chosen = worths.datasets
        if args.dataset is not None:
            chosen = [row for row in chosen if args.dataset in (row.key, row.name)]
            if not chosen:
                raise DatasetError(f"{args.dataset} is neither the key nor the name of a file")
        near = worths.look_for(chosen)
        files = [worths.of(row, near, whole=args.dataset is not None) for row in chosen]
        business = business_of(layout, view, worths)
    if args.json:
        found = {
            "currency": currency,
            "files": [worth_table.file_json(file) for file in files],
            **worth_table.business_json(business),
        }
        print(orjson.dumps(found).decode())
    elif args.dataset is not None:
        print("\n".join(line for file in files for line in worth_table.details(file, currency)))
    else:
        lines = worth_table.table(files, currency) if files else ["no file was dropped yet"]
        print("\n".join([*lines, "", *worth_table.summary(business, currency)]))
    return DONE


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.worth_table
    import finetuned.config
    import finetuned.files.journal_view
    import finetuned.reports.business  # noqa: F401

    return on_root(args, _worth)


VERB = Verb(
    name="worth",
    summary="Show what each file cost, what its training changed, and whether it was needed.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
