"""
The status screen on a terminal: printed once, or kept at the bottom while lines scroll above it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from finetuned.cli.status_screen import Tone, render, screen
from finetuned.cli.terminal import program
from finetuned.files.status_file import Presence, presence, read_status
from finetuned.layout import Layout
from finetuned.registry.status_now import with_links

MAX_WIDTH = 120
COLOURS = {Tone.PLAIN: "", Tone.GOOD: "32", Tone.WARN: "33", Tone.BAD: "31"}
"""Tone -> SGR parameter of the terminal."""
STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "red"}
"""Tone -> style of rich."""

Look = Callable[[], tuple[dict[str, Any] | None, Presence]]
"""Returns the status document and whether its daemon is alive."""


def look(layout: Layout) -> tuple[dict[str, Any] | None, Presence]:
    """
    Return the status document of a root and whether its daemon is alive now.

    A daemon that does not run says no more which version is in use: the links do, because a
    person may have moved them since.
    """
    status = read_status(layout)
    seen = presence(status, datetime.now(UTC))
    if status is not None and not seen.state.alive:
        status = with_links(layout, status)
    return status, seen


def print_screen(root: Path, status: dict[str, Any] | None, seen: Presence) -> None:
    """
    Print the screen once; coloured if stdout is a terminal that wants colours.
    """
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = min(MAX_WIDTH, shutil.get_terminal_size((100, 24)).columns)
    for row, tone in render(screen(root, status, seen, program()), width, cut_words=False):
        colour = COLOURS[tone] if coloured else ""
        print(f"\x1b[{colour}m{row}\x1b[0m" if colour else row)


class LiveScreen:
    """
    The screen at the bottom of the terminal for as long as the object is entered.

    Imports rich, which costs some MiB: only for a process that has a terminal.
    """

    def __init__(self, root: Path, look: Look) -> None:
        from rich.console import Console
        from rich.live import Live

        self._root = root
        self._look = look
        self._console = Console()
        # Lines that anybody prints meanwhile appear above the screen.
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.refresh()  # what stays on the terminal is how it ended
            self._live.stop()
        except OSError:
            pass

    def refresh_every(self, seconds: float) -> None:
        """
        Renew the screen from a thread of its own until the object is left.
        """

        def renew() -> None:
            try:
                while not self._ended.wait(seconds):
                    self.refresh()
            except OSError:
                pass  # the terminal is gone; the daemon goes on without it

        self._thread = threading.Thread(target=renew, name="live screen", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """
        Look at the status and show it.
        """
        from rich.text import Text

        width = min(MAX_WIDTH, self._console.width)
        text = Text("\n")  # apart from what scrolls above
        lines = screen(self._root, *self._look(), program())
        for row, tone in render(lines, width, cut_words=True):
            text.append(row + "\n", style=STYLES[tone])
        self._live.update(text, refresh=True)
