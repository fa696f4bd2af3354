"""
``finetuned canary``: its commands and their arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from finetuned.cli.session import ANSWERS_KEPT, on_root
from finetuned.cli.verb import UsageError, Verb, add_common, named_file

if TYPE_CHECKING:
    from finetuned.layout import Layout

TEXT_SCORERS = ("exact", "normalised", "json", "numeric", "contains", "regex", "f1")
"""Scorers of a text; held equal to those of core/ by a test."""

DETAILS = """examples:
  finetuned canary list
  finetuned canary add --id motd --prompt "Say hello." --expected "Hello."
  finetuned canary add --id pi --prompt "What is pi?" --expected 3.14 \\
      --scorer '{"name": "numeric", "tolerance": 0.01}'
  finetuned canary add --from-production FILE --line 7     a record with a correction
  finetuned canary add --from-production FILE --id q-17 --as-is    its answer is right
  finetuned canary add --suite examples/canaries           all questions of a suite
  finetuned canary run --model v0003                       which ones a version fails
  finetuned canary remove motd --confirm motd

The list is benchmarks/canaries.jsonl. A canary that the version in use passes must be passed by
every version after it: the gate rejects a candidate that loses one. Passwords become references
before anything is written.

exit status: 0 done (run: all passed), 1 refused (run: one failed or was not asked), 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    listing = commands.add_parser("list", help="List all canaries.")
    listing.set_defaults(command="list")
    add = commands.add_parser("add", help="Add one, of your own or from production, or a suite.")
    add.set_defaults(command="add")
    add.add_argument("--id", help="its name; with --from-production: the record of that id")
    add.add_argument("--prompt", help="what is asked")
    add.add_argument("--system", help="the system message before it")
    add.add_argument("--expected", help="the right answer, or what the scorer compares with")
    add.add_argument(
        "--scorer",
        metavar="NAME_OR_JSON",
        help=f"{', '.join(TEXT_SCORERS)}, or an object with a name and options"
        " (default: json where the expected answer is a JSON object, else exact)",
    )
    add.add_argument(
        "--from-production",
        type=named_file,
        metavar="FILE",
        help="take a record of a production log, JSON Lines",
    )
    add.add_argument("--line", type=int, metavar="N", help="which record: its line, from 1")
    add.add_argument(
        "--as-is", action="store_true", help="you vouch that the answer in the record is right"
    )
    add.add_argument(
        "--suite",
        type=named_file,
        metavar="NAME_OR_FILE",
        help="add all questions of a suite: a file, or a name as in finetuned test",
    )
    remove = commands.add_parser("remove", help="Remove one; the rest of the file stays as it is.")
    remove.set_defaults(command="remove")
    remove.add_argument("id")
    remove.add_argument("--confirm", metavar="ID", help="the id again; asked on a terminal")
    run = commands.add_parser("run", help="Ask a model all canaries and list those it fails.")
    run.set_defaults(command="run")
    run.add_argument("--model", default="current_model", help="as in finetuned test")
    run.add_argument("--fresh", action="store_true", help="ask anew what is known already")
    for command in (listing, add, remove, run):
        add_common(command)


def _check_add(args: argparse.Namespace) -> None:
    if args.suite is not None:
        given = ("id", "prompt", "system", "expected", "scorer", "from_production", "line")
        if args.as_is or any(getattr(args, name) is not None for name in given):
            raise UsageError("--suite takes everything from the file: it stands alone")
    elif args.from_production is None:
        if args.line is not None or args.as_is:
            raise UsageError("--line and --as-is are for --from-production")
        if not args.id or args.prompt is None or args.expected is None:
            raise UsageError(
                "add needs --id, --prompt and --expected, or --from-production FILE, or --suite"
            )
    elif args.prompt is not None or args.system is not None:
        raise UsageError("--from-production takes the prompt from the record")
    elif args.as_is and args.expected is not None:
        raise UsageError("--as-is takes the record's answer, --expected another: choose one")
    elif args.line is not None and args.line < 1:
        raise UsageError("--line must be >= 1")


def _run(args: argparse.Namespace) -> int:
    if args.command == "add":
        _check_add(args)
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.cli import canary_list, canary_run

    commands: dict[str, Callable[[Layout, argparse.Namespace], int]] = {
        **canary_list.COMMANDS,
        "run": canary_run.run,
    }
    return on_root(args, commands[args.command], interrupted=ANSWERS_KEPT)


VERB = Verb(
    name="canary",
    summary="Keep the list of what must never break, and ask a model all of it.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
