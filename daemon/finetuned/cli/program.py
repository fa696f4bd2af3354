"""
The program ``finetuned``: its parser, and the verb that the arguments name.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from finetuned import __version__
from finetuned.cli.verb import UsageError, Verb, chosen_root

NAMES = (
    "run",
    "serve",
    "status",
    "check",
    "convert",
    "import",
    "augment",
    "corrections",
    "tune",
    "datasets",
    "retry",
    "versions",
    "canary",
    "test",
    "compare",
    "ask",
    "chat",
    "review",
    "report",
    "curves",
    "evolution",
    "worth",
    "confidence",
    "drift",
    "sql",
    "metrics",
    "export",
    "keys",
    "config",
    "make",
    "base",
    "completion",
)
"""The verbs, each a file of this room, in the order in which the help lists them."""

FILES = {"import": "import_rows"}
"""Verbs whose file has another name, because theirs is a word of Python."""

DETAILS = """examples:
  finetuned run --root /srv/ft         watch /srv/ft/inbox and train what is dropped there
  finetuned VERB --help                examples and exit statuses of one verb

exit status:
  0 done   1 refused or not passed   2 wrong usage   70 bug   75 try again later
  78 wrong configuration (running it again will not help)   130 ended with Ctrl-C
"""


def verbs(names: Sequence[str] = NAMES) -> tuple[Verb, ...]:
    """
    Return the verbs with these names, imported now.
    """
    files = (FILES.get(name, name) for name in names)
    found: list[Verb] = [import_module(f"finetuned.cli.{file}").VERB for file in files]
    return tuple(found)


def build_parser(names: Sequence[str] = NAMES) -> argparse.ArgumentParser:
    """
    Return the parser of the whole program, or of some of its verbs.
    """
    parser = argparse.ArgumentParser(
        prog="finetuned",
        description="Watch a folder of JSONL and continuously fine-tune a language model.",
        epilog=DETAILS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"finetuned {__version__}")
    parser.set_defaults(program=parser)
    below = parser.add_subparsers(required=True, metavar="VERB", title="verbs")
    for verb in verbs(names):
        added = below.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.summary,
            epilog=verb.details,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(verb=verb, parser=added)
        verb.configure(added)
    return parser


def main(argv: Sequence[str]) -> int:
    """
    Parse *argv* and run its verb.

    Args:
        argv: The arguments after the name of the program.

    Returns:
        The verb's exit status.

    Raises:
        SystemExit: Help was asked for (status 0), or the usage is wrong (status 2).
    """
    args = build_parser(_needed(argv)).parse_args(argv, argparse.Namespace(root=None, json=False))
    verb: Verb = args.verb
    parser: argparse.ArgumentParser = args.parser
    try:
        if verb.needs_root:
            args.root = chosen_root(args)
            if not args.root.is_dir():
                raise UsageError(f"--root {args.root} is not a directory")
        return verb.run(args)
    except UsageError as error:
        parser.error(str(error))


def _needed(argv: Sequence[str]) -> Sequence[str]:
    """
    Return the verbs that *argv* is about: the files of the others need not be read.

    Completion is about all of them.
    """
    return argv[:1] if argv and argv[0] in NAMES and argv[0] != "completion" else NAMES


def run_process(*words: str) -> int:
    """
    Run this process's arguments, after *words*, and return the exit status.

    Args:
        words: Of a launcher: the verb, and its sub-command if there is one.
    """
    argv = [*words, *sys.argv[1:]]
    if all(verb.quiet_pipe for verb in verbs([name for name in argv[:1] if name in NAMES])):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    status = main(argv)
    if "torch" in sys.modules:
        # The interpreter's clean-up of torch takes more than a second, and nothing is left to do.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status
