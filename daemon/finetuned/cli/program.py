"""
The program ``finetuned``: its parser, and the verb that the arguments name.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from finetuned import __version__
from finetuned.cli import (
    ask,
    base,
    canary,
    chat,
    check,
    compare,
    completion,
    config,
    convert,
    datasets,
    keys,
    make,
    report,
    retry,
    run,
    serve,
    status,
    test,
    versions,
)
from finetuned.cli.verb import UsageError, Verb, chosen_root

VERBS: tuple[Verb, ...] = (
    run.VERB,
    serve.VERB,
    status.VERB,
    check.VERB,
    convert.VERB,
    datasets.VERB,
    retry.VERB,
    versions.VERB,
    canary.VERB,
    test.VERB,
    compare.VERB,
    ask.VERB,
    chat.VERB,
    report.VERB,
    keys.VERB,
    config.VERB,
    make.VERB,
    base.VERB,
    completion.VERB,
)
"""In the order in which the help lists them."""

DETAILS = """examples:
  finetuned run --root /srv/ft         watch /srv/ft/inbox and train what is dropped there
  finetuned VERB --help                examples and exit statuses of one verb

exit status:
  0 done   1 refused or not passed   2 wrong usage   70 bug   75 try again later
  78 wrong configuration (running it again will not help)   130 ended with Ctrl-C
"""


def build_parser() -> argparse.ArgumentParser:
    """
    Return the parser of the whole program.
    """
    parser = argparse.ArgumentParser(
        prog="finetuned",
        description="Watch a folder of JSONL and continuously fine-tune a language model.",
        epilog=DETAILS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"finetuned {__version__}")
    parser.set_defaults(program=parser)
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs")
    for verb in VERBS:
        added = verbs.add_parser(
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
    args = build_parser().parse_args(argv, argparse.Namespace(root=None, json=False))
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


def run_process(*words: str) -> int:
    """
    Run this process's arguments, after *words*, and return the exit status.

    Args:
        words: Of a launcher: the verb, and its sub-command if there is one.
    """
    argv = [*words, *sys.argv[1:]]
    if not any(verb.name in argv[:1] and not verb.quiet_pipe for verb in VERBS):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return main(argv)
