"""
Pages of eval reports, made by a child process so that the supervisor never imports matplotlib.

A page can be made again at any time (finetuned report), so nobody waits for one
and a failure costs nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time

import structlog

from finetuned.layout import Layout
from finetuned.process.environment import child_environment

log = structlog.get_logger()

DELAY_SECONDS = 15.0
"""After a verdict the next file's start wants the processor; nobody waits for a page."""

MAKE_SECONDS = 600.0
"""Longest time that one page may take; then its process is killed, and the next is made."""

_NICE = 15


class Pages:
    """
    Makes one page at a time, at low priority.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._waiting: list[tuple[str, float]] = []
        """Versions, and when their pages are due on the monotonic clock."""
        self._process: subprocess.Popen[bytes] | None = None
        self._version = ""
        self._began = 0.0

    def ask(self, version: str) -> None:
        """
        Have the page of *version* made when its turn comes.
        """
        self._waiting.append((version, time.monotonic() + DELAY_SECONDS))

    def look(self) -> None:
        """
        Take in the end of one page and begin the next.

        Raises:
            OSError: The process could not be started; that page is left out.
        """
        if self._process is not None:
            status = self._process.poll()
            if status is None and time.monotonic() - self._began > MAKE_SECONDS:
                self._process.kill()
                status = self._process.wait()
            if status is None:
                return
            if status != 0:
                log.warning("page_not_made", version=self._version, exit_status=status)
            self._process = None
        if self._waiting and time.monotonic() >= self._waiting[0][1]:
            self._version, _ = self._waiting.pop(0)
            self._start()

    def finish(self) -> None:
        """
        Begin every page that waits, whose processes outlive this one.

        Raises:
            OSError: As look.
        """
        while self._waiting:
            self._version, _ = self._waiting.pop(0)
            self._start()

    def _start(self) -> None:
        layout = self._layout
        layout.reports.mkdir(exist_ok=True)
        self._began = time.monotonic()
        command = [sys.executable, "-m", "finetuned.reports.page"]
        with (layout.logs / "workers.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "nice",
                    "-n",
                    str(_NICE),
                    *command,
                    "--root",
                    str(layout.root.resolve()),
                    self._version,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=layout.reports,
                # A service's home may be read-only, and matplotlib writes a cache.
                env=child_environment(MPLCONFIGDIR=str(layout.reports / ".matplotlib")),
            )
