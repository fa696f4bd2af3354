"""
Files that lie in the inbox and are not claimed yet: for what, for whom and since when.

A file waits until it has been still for a while, and until nobody has it open for writing.
Knows the scans of the inbox; moves nothing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain, islice

import structlog

from finetuned.core.stability import StabilityTracker
from finetuned.files.inbox_names import escape_name
from finetuned.files.writers import Writer, open_writers
from finetuned.supervisor.context import Context

log = structlog.get_logger()

SHOWN_FILES = 20


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """
    One file, as the status shows it.
    """

    name: str
    """Path below inbox/, printable."""
    reason: str
    seconds: float
    """Since it was first seen."""
    pid: int | None
    """Of the process that has it open for writing; None if there is none, or it is hidden."""
    command: str | None
    """Name of that process."""


class WaitingFiles:
    """
    Remembers who has which file open.
    """

    def __init__(self, context: Context, tracker: StabilityTracker) -> None:
        self._context = context
        self._tracker = tracker
        self._writers: dict[bytes, Writer] = {}
        self._logged: dict[bytes, Writer] = {}
        self._changing: dict[bytes, Writer] = {}
        """Writers of files that are not stable either; only shown."""
        self._asked_at = float("-inf")

    @property
    def held(self) -> int:
        """How many files somebody has open for writing."""
        return len(self._writers)

    def ask_for_writers(self, paths: Collection[bytes]) -> None:
        """
        Find out which of the stable files *paths* somebody still has open for writing.
        """
        now = self._find(paths)
        for path, writer in now.items():
            if self._logged.get(path) != writer:
                self._logged[path] = writer
                reason = f"open for writing by {writer}"
                log.info("dataset_waits", name=escape_name(path), reason=reason, pid=writer.pid)
        kept = {p: w for p, w in self._writers.items() if p not in paths}
        self._writers = kept | now

    def _find(self, paths: Collection[bytes]) -> dict[bytes, Writer]:
        inbox = os.fsencode(self._context.layout.inbox)
        full = {os.path.join(inbox, path): path for path in paths}
        return {full[path]: writer for path, writer in open_writers(full).items()}

    def is_held(self, path: bytes) -> bool:
        """
        Return whether somebody had the file open when that was last asked.
        """
        return path in self._writers

    def take_scan(self, paths: Collection[bytes], stable: Collection[bytes], now: float) -> None:
        """
        Forget what is no longer true after a scan, and see who writes what still changes.

        Args:
            paths: Every file that may be claimed one day.
            stable: Those that did not change: for the others the wait begins again anyway.
            now: Monotonic time in seconds.
        """
        self._logged = {p: w for p, w in self._logged.items() if p in paths}
        self._writers = {p: w for p, w in self._writers.items() if p in stable}
        if now - self._asked_at >= self._context.config.inbox.scan_seconds:
            self._asked_at = now
            changing = islice((path for path in paths if path not in stable), SHOWN_FILES)
            self._changing = self._find(set(changing))

    def all_overdue(self, paths: Iterable[bytes], now: float) -> bool:
        """
        Return whether each of *paths* has waited longer than ``run --until-idle`` waits.
        """
        limit = self._context.config.inbox.until_idle_seconds
        return all(self._tracker.waiting_for(path, now) >= limit for path in paths)

    def describe(self, paths: Iterable[bytes], now: float) -> list[WaitingFile]:
        """
        Return what is known of each of *paths*, which the last scan saw.
        """
        return [self._describe(path, now) for path in paths]

    def first(self, paths: Collection[bytes], now: float) -> list[WaitingFile]:
        """
        Return what is known of the first of *paths*; those with a writer come first.
        """
        others = (path for path in paths if path not in self._writers)
        return self.describe(islice(chain(self._writers, others), SHOWN_FILES), now)

    def _describe(self, path: bytes, now: float) -> WaitingFile:
        still = self._tracker.unchanged_for(path, now)
        needed = self._context.config.inbox.stability_seconds
        writer = (self._changing if still < needed else self._writers).get(path)
        if writer is not None:
            reason = f"open for writing by {writer}"
        elif still < needed:
            reason = f"unchanged for {still:.1f} s; it is read after {needed:g} s without a change"
        else:
            reason = "its turn has not come"
        return WaitingFile(
            name=escape_name(path),
            reason=reason,
            seconds=round(self._tracker.waiting_for(path, now), 1),
            pid=None if writer is None else writer.pid,
            command=None if writer is None else writer.command,
        )
