"""
How commands write to a terminal: complaints, short lists, a progress bar.

Knows terminals; does not know what a command does.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.core.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MAX_NAMES = 20
"""Items named in one line; the rest is counted."""


def complain(verb: str, text: str) -> None:
    """
    Print *text* to stderr, with what would control the terminal made visible.
    """
    print(f"finetuned {verb}: {printable(text)}", file=sys.stderr)


def ask(question: str) -> str | None:
    """
    Return the line that a person types at *question*, None if no terminal is connected.
    """
    if not sys.stdin.isatty():
        return None
    print(printable(question), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def program() -> str:
    """
    Return how a person in this shell starts finetuned, quoted for the shell.

    Its name, if it is on PATH; else the path by which it was started.
    """
    started = Path(sys.argv[0])
    if shutil.which("finetuned") or started.name != "finetuned":
        return "finetuned"
    return shlex.quote(str(started.resolve()))


def shown(path: Path) -> str:
    """
    Return *path* as a person in the current directory would type it.
    """
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def listed(names: Sequence[str]) -> str:
    """
    Return the first names and how many more there are.
    """
    text = ", ".join(printable(name) for name in names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{text} and {more} more" if more > 0 else text


def size(count: int | None) -> str:
    """
    Return a number of bytes with its unit, ``?`` if it is not known.
    """
    if count is None:
        return "?"
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 2**10:.1f} KiB"


class Bar:
    """
    A bar that counts items; shows nothing if stderr is no terminal.
    """

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self._progress, self._task = progress, task

    def begin(self, what: str) -> None:
        """
        Name what is being done now.
        """
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=printable(what))

    def done(self, items: int) -> None:
        """
        Count *items* that are done.
        """
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, items)


@contextmanager
def bar(items: int, *, time_left: bool = False) -> Iterator[Bar]:
    """
    Show a bar of *items* on stderr while the block runs; with *time_left* how long the rest takes.
    """
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    left = (TextColumn("left"), TimeRemainingColumn()) if time_left else ()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *left,
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task("", total=items))


class ByteBar:
    """
    A bar of how much of a file is read and how long the rest takes; silent without a terminal.
    """

    def __init__(self, progress: Progress | None = None, task: TaskID | None = None) -> None:
        self._progress, self._task = progress, task

    def reach(self, n_bytes: int) -> None:
        """
        Show that *n_bytes* of the file are read.
        """
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=n_bytes)


@contextmanager
def byte_bar(n_bytes: int, what: str) -> Iterator[ByteBar]:
    """
    Show a bar of *n_bytes* with the time left on stderr while the block runs.
    """
    if not sys.stderr.isatty():
        yield ByteBar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield ByteBar(progress, progress.add_task(printable(what), total=n_bytes))
