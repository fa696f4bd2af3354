"""
What a verb of ``finetuned`` is, and the options that verbs share.

Knows argparse; does not know any verb.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finetuned.cli.root import NO_ROOT, VARIABLE, default_root, root_folder


class UsageError(Exception):
    """
    Arguments that are valid one by one and wrong together; ends with exit status 2.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """
    One command: ``finetuned NAME ...``.
    """

    name: str
    summary: str
    """One sentence, shown in the list of verbs and at the top of the verb's own help."""
    details: str
    """The end of the verb's help: examples and exit statuses. Printed as it is."""
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds the verb's arguments. Must not import anything heavy."""
    run: Callable[[argparse.Namespace], int]
    """
    Does the work and returns the exit status. Imports what it needs itself. Raises UsageError
    if the arguments do not fit together.
    """
    needs_root: bool = True
    """Whether --root must be an existing directory before the verb runs."""
    quiet_pipe: bool = True
    """Whether a reader that goes away (``| head``) ends the process silently."""


def add_root(parser: argparse.ArgumentParser) -> None:
    """
    Add ``--root``. It has no default here, so that it may stand before and after a sub-command.
    """
    parser.add_argument(
        "--root",
        type=root_folder,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"folder that holds inbox/, models/ ... (default: ${VARIABLE}, else the checkout that "
        "the program runs from, else the current directory if it is a root)",
    )


def chosen_root(args: argparse.Namespace) -> Path:
    """
    Return the root that --root names, else the default one.

    Raises:
        UsageError: There is no default root either.
    """
    root: Path | None = args.root or default_root()
    if root is None:
        raise UsageError(NO_ROOT)
    return root


def add_json(parser: argparse.ArgumentParser) -> None:
    """
    Add ``--json``, likewise without a default.
    """
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """
    Add ``--root`` and ``--json``.
    """
    add_root(parser)
    add_json(parser)


def named_file(text: str) -> Path:
    """
    Return the file that an argument names.

    Raises:
        argparse.ArgumentTypeError: The argument is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("the name of a file must not be empty")
    return Path(text)
