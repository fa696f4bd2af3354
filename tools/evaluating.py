"""
What test_runner, compare_models and canary have in common: the root, and what a terminal shows.

Knows argparse and terminals; does not know how a model is asked or marked.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import _venv
import orjson

from finetuned.core.text import printable
from finetuned.errors import FinetunedError
from finetuned.layout import Layout
from finetuned.telemetry.log import configure

INTERRUPTED = 130
"""Exit status of a tool that a person ended with Ctrl-C."""

MAX_NAMES = 20
"""Items named in one line; the rest is counted."""


def parser(tool: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """
    Return a parser with the options that all have.
    """
    made = argparse.ArgumentParser(
        prog=f"tools/{tool}.py",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(made)
    return made


def add_common(to: argparse.ArgumentParser) -> None:
    """
    Add --root and --json; without defaults, so that they may stand before and after a command.
    """
    to.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="default: the checkout",
    )
    to.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
    )


def parse(made: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """
    Return the arguments; a root that is no directory is wrong usage.
    """
    args = made.parse_args(argv, argparse.Namespace(root=_venv.CHECKOUT, json=False))
    if not args.root.is_dir():
        made.error(f"--root {args.root} is not a directory")
    return args


def run(tool: str, args: argparse.Namespace, work: Callable[[Layout, Any], int]) -> int:
    """
    Do *work* on the root, as the user it belongs to, and say what went wrong.

    Returns:
        What *work* returned, 1 for an error that is ours to explain, 130 for Ctrl-C.
    """
    _venv.become_owner(args.root)
    layout = Layout(args.root.resolve())
    configure(layout.logs / f"{tool}.log" if layout.logs.is_dir() else None, console=False)
    # transformers warns of its own renaming when peft asks for the old name.
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        return work(layout, args)
    except (FinetunedError, OSError, sqlite3.Error) as error:
        if args.json:
            print(orjson.dumps({"error": printable(str(error))}).decode())
        complain(tool, str(error))
        return 1
    except KeyboardInterrupt:
        complain(tool, "interrupted; the answers of suites that were finished are kept")
        return INTERRUPTED


def complain(tool: str, text: str) -> None:
    """
    Say something on stderr that a terminal survives.
    """
    print(f"{tool}: {printable(text)}", file=sys.stderr)


def shown(path: Path) -> str:
    """
    Return *path* as a person here would type it.
    """
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def listed(names: list[str]) -> str:
    """
    Return the first names and how many more there are.
    """
    text = ", ".join(printable(name) for name in names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{text} and {more} more" if more > 0 else text


def title(name: str) -> str:
    """
    Return a suite's name for people: ``syllo_easy_100`` is "Syllo easy 100".
    """
    words = printable(name).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


class Progress:
    """
    A bar of items on a terminal; nothing elsewhere.
    """

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task = bar, task

    def begin(self, what: str) -> None:
        """
        Say what is being done now.
        """
        if self._bar is not None:
            self._bar.update(self._task, description=printable(what))

    def done(self, items: int) -> None:
        """
        Count items that are done.
        """
        if self._bar is not None:
            self._bar.advance(self._task, items)


@contextmanager
def progress(items: int) -> Iterator[Progress]:
    """
    Show a bar of *items* on stderr while the block runs, where that is a terminal.
    """
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Progress(bar, bar.add_task("", total=items))
