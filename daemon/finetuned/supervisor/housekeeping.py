"""
What is looked at about once a second: the disk, messages, finished jobs, the version in use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from finetuned.files.inbox import make_folders
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.retire import retire_job
from finetuned.supervisor.merges import consolidate_nightly
from finetuned.supervisor.old_heads import OldHeads
from finetuned.supervisor.reporting import Reporter
from finetuned.supervisor.verdict.follow import follow_journal

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Least time between two looks."""


class Housekeeping:
    """
    Keeps folders in step with the journal, and says if the disk is too full to start anything.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._old_heads = OldHeads(context)
        self._reporter = Reporter(context)
        self._last = float("-inf")
        self._checkpoint_bytes = 0
        self.low_disk: str | None = None
        """Why the disk is too full, None if it is not."""

    def hurry(self) -> None:
        """
        Look at the next turn: a job ended, and its originals can go to their last place.
        """
        self._last = float("-inf")

    def look(self, *, checkpoint_bytes: int, is_idle: Callable[[], bool]) -> bool:
        """
        Do the rounds if it is time to.

        Args:
            checkpoint_bytes: Size of the last checkpoint; the disk must hold two of the largest.
            is_idle: Returns whether nothing is being done and nothing waits; asked only if
                merges have a time of day.

        Returns:
            Whether it was time.

        Raises:
            OSError, sqlite3.OperationalError, FinetunedError: Something was refused; the rest
                is done at the next look.
        """
        if time.monotonic() - self._last < LOOK_SECONDS:
            return False
        self._last = time.monotonic()
        self._checkpoint_bytes = max(self._checkpoint_bytes, checkpoint_bytes)
        self._make_folders_again()
        self.low_disk = self._disk_shortage()
        self._reporter.look(now=datetime.now())
        follow_journal(self._context)  # a person may have promoted or rolled back
        self.retire()
        self._old_heads.look()
        if self._context.config.registry.consolidate_at:
            consolidate_nightly(self._context, idle=is_idle(), now=datetime.now())
        return True

    def retire(self) -> None:
        """
        Move the originals of finished jobs to their last place.
        """
        for job in self._context.journal.jobs.unretired():
            retire_job(self._context, job)

    def _make_folders_again(self) -> None:
        """Make folders that somebody removed, and of which no content can be missed."""
        layout = self._context.layout
        own = (layout.control, layout.acks, layout.logs, layout.status_file.parent)
        for folder in make_folders(layout, *own, layout.benchmarks):
            log.warning("folder_made_again", folder=folder)

    def _disk_shortage(self) -> str | None:
        disk = os.statvfs(self._context.layout.models)
        free = disk.f_bavail * disk.f_frsize
        needed = self._context.config.supervisor.disk_reserve_bytes + 2 * self._checkpoint_bytes
        if free >= needed:
            return None
        return f"disk_full: {free >> 20} MiB free under models/, {needed >> 20} MiB needed"
