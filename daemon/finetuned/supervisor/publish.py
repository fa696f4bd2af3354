"""
When the status file is written: at every change, and at intervals in between.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import Any

import structlog

from finetuned.errors import CorruptRow
from finetuned.process import notify
from finetuned.supervisor.context import Context
from finetuned.supervisor.describe import describe
from finetuned.supervisor.device_use import DeviceMeter
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.runs.jobs import JobRunner
from finetuned.supervisor.usage import UsageRecorder
from finetuned.supervisor.verdict.follow import show_head
from finetuned.telemetry.gpu import gpu_readings
from finetuned.telemetry.host import host_reading

log = structlog.get_logger()

STATUS_SECONDS_BUSY = 0.9
STATUS_SECONDS_IDLE = 5.0
HOST_SECONDS = 5.0

STEP = "status"
"""Name of this step of a turn, where the journal may refuse it."""


class Publisher:
    """
    Writes the status file and remembers what it last said.
    """

    def __init__(
        self, context: Context, jobs: JobRunner, intake: Intake, watch: PromotionWatch
    ) -> None:
        self._context = context
        self._jobs = jobs
        self._intake = intake
        self._watch = watch
        self._meter = DeviceMeter(context.journal.device_use)
        self._last_write = float("-inf")
        self._last_signature: Any = None
        self._last_host = float("-inf")
        self._problem: str | None = None
        self._usage = UsageRecorder(context.journal)

    def publish(self, low_disk: str | None, *, stopping: bool) -> None:
        """
        Bring the status file up to date, if it is time to.

        Args:
            low_disk: Why the disk is too full to start anything, if it is.
            stopping: Whether the daemon was asked to leave.
        """
        now, board = time.monotonic(), self._context.board
        runs = (self._jobs.run, self._intake.validation.run, self._watch.run)
        self._usage.look([run for run in runs if run is not None])
        board.update(**self._describe(low_disk, stopping=stopping))
        fields = board.fields
        signature = (
            fields["phase"],
            fields["status"],
            fields["waiting_reason"],
            fields["version"],
            fields["head"],
            str(fields["job"]),
            str(fields["watch"]),
            str(fields["last_command"]),
            fields["config_error"],
            [(file["name"], file["pid"]) for file in fields["inbox_waiting"]],
        )
        changed = signature != self._last_signature
        busy = self._jobs.view() is not None or self._intake.validation.busy
        interval = STATUS_SECONDS_BUSY if busy else STATUS_SECONDS_IDLE
        if not changed and now - self._last_write < interval:
            return
        if now - self._last_host >= HOST_SECONDS:
            self._last_host = now
            pid = self._jobs.worker_pid or self._intake.validation.worker_pid
            host, gpus = host_reading(self._context.layout.root, worker_pid=pid), gpu_readings()
            board.update(host=host, gpus=gpus)
            self._meter.take(gpus if self._jobs.view() is not None else ())
        if changed:
            notify.status(f"{fields['phase']}: {fields['waiting_reason'] or fields['version']}")
        if self.write(durable=changed):
            self._last_signature = signature
            self._last_write = now

    def _describe(self, low_disk: str | None, *, stopping: bool) -> dict[str, Any]:
        context = self._context
        parts = (context, self._jobs, self._intake, self._watch)
        try:
            fields = describe(*parts, low_disk=low_disk, stopping=stopping)
            show_head(context)  # beside the version: a person may just have changed either
        except (CorruptRow, sqlite3.OperationalError) as error:
            # What else the status said stands; why it can say no more is said.
            context.block("refused", f"{STEP}: {error}", by=STEP)
            return {"status": "idle", "phase": "waiting", "waiting_reason": context.blocked_reason}
        if context.blocked_by == STEP:
            context.unblock()
        return fields

    def write(self, *, durable: bool) -> bool:
        """
        Replace the status file; return whether that worked.
        """
        self._balance_books()
        try:
            self._context.board.write(durable=durable)
        except OSError as error:
            # The last snapshot stands, with its old heartbeat; the log says why.
            if self._problem is None:
                log.warning("status_not_written", error=str(error))
            self._problem = str(error)
            return False
        self._problem = None
        return True

    def _balance_books(self) -> None:
        """Bring the books on the board up to date; with many files that is too much for a turn."""
        journal = self._context.journal
        with suppress(CorruptRow, sqlite3.OperationalError):  # which the next description says
            self._context.board.update(books=journal.books.balance(journal.head_lineage).as_dict())
