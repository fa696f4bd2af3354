"""
The daily report and the messages at once, as the daemon has them made and sent.

Writes messages into the journal and lets a child process make the report and send what waits,
so that neither a mail server nor matplotlib can hold the loop up. Whatever goes wrong here is
logged, shown in the status and tried again; it never keeps training from going on.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime

import structlog

from finetuned.core.delivery import DeliveryState
from finetuned.core.digest import Pending, Spacing, after_message, is_time
from finetuned.core.notice import Condition, Held, NoticeKind, observe
from finetuned.core.timetable import days_due
from finetuned.errors import EXIT_TEMPFAIL, FinetunedError
from finetuned.files.message_rows import NoticeRow
from finetuned.process.environment import child_environment
from finetuned.reports.attention import in_the_way
from finetuned.reports.daily.message import packed
from finetuned.reports.daily.status import NOT_SENT
from finetuned.reports.daily.told import Told, message_of
from finetuned.supervisor.context import Context

log = structlog.get_logger()

CHILD_SECONDS = 900.0
"""Longest life of the child; then it is killed, and another one goes on later."""

PAUSE_SECONDS = 300.0
"""Time until another child is tried after one that failed to make a report."""

SHOW_SECONDS = 10.0
"""Least time between two looks at what the status shows."""

DISK = "disk_full"
"""The first word of what stands in the way if the disk is full."""


class Reporter:
    """
    Looks about once a second whether there is something to tell.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._conditions: dict[str, Held] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._not_before = float("-inf")
        self._shown = float("-inf")
        self._problem: str | None = None
        """Why the last child failed, None if it did not."""
        self._refused = False

    def look(self, *, now: datetime) -> None:
        """
        Take in the end of a child, write the message that is due, begin a child if there is work.

        Raises nothing that a file system, a journal or a damaged record can cause.

        Args:
            now: Local wall clock: quiet hours and the time of the report are a person's.
        """
        try:
            self._look(now)
            self._refused = False
        except (OSError, sqlite3.Error, FinetunedError) as error:
            if not self._refused:
                log.warning("reporting_refused", error=f"{type(error).__name__}: {error}")
            self._refused = True

    def _look(self, now: datetime) -> None:
        self._reap()
        self._take_conditions()
        self._tell(now)
        if self._child is None and time.monotonic() >= self._not_before and self._has_work(now):
            self._start()
        if self._child is None or self._context.board.fields["report"] is None:
            self._show()  # while a child works, tries that go on look like tries that failed

    # -- at once ------------------------------------------------------------------

    def _take_conditions(self) -> None:
        """Record the states that lasted long enough as notices."""
        wanted = self._context.config.report.at_once
        if not {NoticeKind.WAITING, NoticeKind.DISK_LOW} & set(wanted):
            return
        found = [
            Condition(NoticeKind.DISK_LOW if text.startswith(DISK) else NoticeKind.WAITING, text)
            for text in in_the_way(self._context.board.fields)
        ]
        known, told = observe(self._conditions, found, time.monotonic())
        with self._context.journal.together():
            for condition in told:
                self._context.journal.notices.add(condition.kind, condition.text)
        self._conditions = known

    def _tell(self, now: datetime) -> None:
        """Write the message that tells what waits, if it is time."""
        context, notices = self._context, self._context.journal.notices
        untold = notices.untold()
        if not untold:
            return
        config = context.config.report
        wanted = {NoticeKind(word) for word in config.at_once}
        notices.leave_out(untold, wanted)
        untold = [notice for notice in untold if notice.kind in wanted]
        spacing = Spacing(config.gather_seconds, config.again_seconds, config.quiet_hours())
        pending = [Pending(notice.kind, _local(notice.at)) for notice in untold]
        digest = notices.digest()
        if not is_time(digest, pending, spacing, now):
            return
        root = context.layout.root.resolve().name
        subject, message = message_of([self._told(notice) for notice in untold], root)
        with context.journal.together():
            number = context.journal.messages.add(subject, packed(message), None, config.to)
            notices.note_told(untold, number)
            notices.note_digest(after_message(digest, pending, spacing, now))
        log.info("message_written", message=number, notices=len(untold))

    def _told(self, notice: NoticeRow) -> Told:
        files: tuple[str, ...] = ()
        if notice.job_id is not None:
            files = tuple(row.name for row in self._context.journal.datasets.of_job(notice.job_id))
        return Told(notice.kind, notice.at, notice.detail, notice.version, notice.job_id, files)

    # -- the child ----------------------------------------------------------------

    def _has_work(self, now: datetime) -> bool:
        """Return whether a report is due or a message waits, if it is the daemon that sends."""
        config, messages = self._context.config.report, self._context.journal.messages
        if config.sent_by != "daemon":
            return False
        if config.daily_at:
            known = messages.last_daily()
            last = None if known is None else date.fromisoformat(known.last_day)
            if days_due(now, at=config.daily_at, last=last) is not None:
                return True
        return bool(messages.due(datetime.now(UTC)))

    def _start(self) -> None:
        layout = self._context.layout
        layout.reports.mkdir(exist_ok=True)
        self._began = time.monotonic()
        program = ["nice", "-n", "15", sys.executable, "-m", "finetuned.reports.daily.post"]
        with (layout.logs / "workers.log").open("ab") as output:
            self._child = subprocess.Popen(
                [*program, "--root", str(layout.root.resolve())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=layout.reports,
                # A service's home may be read-only, and matplotlib writes a cache.
                env=child_environment(MPLCONFIGDIR=str(layout.reports / ".matplotlib")),
            )

    def _reap(self) -> None:
        if self._child is None:
            return
        status = self._child.poll()
        if status is None and time.monotonic() - self._began > CHILD_SECONDS:
            self._child.kill()
            status = self._child.wait()
        if status is None:
            return
        self._child = None
        self._shown = float("-inf")
        self._problem = None
        if status in (0, NOT_SENT):
            return  # the journal knows when each message is tried again
        self._not_before = time.monotonic() + (30.0 if status == EXIT_TEMPFAIL else PAUSE_SECONDS)
        if status != EXIT_TEMPFAIL:
            self._problem = f"the process that sends ended with status {status}; see logs/"
            log.warning("report_process_failed", exit_status=status)

    # -- the status ---------------------------------------------------------------

    def _show(self) -> None:
        if time.monotonic() - self._shown < SHOW_SECONDS:
            return
        self._shown = time.monotonic()
        self._context.board.update(report=self.shown())

    def shown(self) -> Mapping[str, object]:
        """
        Return the field ``report`` of the status.
        """
        messages = self._context.journal.messages
        last = messages.last_daily()
        trouble = messages.in_trouble(self._context.config.report.to)
        newest = trouble[-1] if trouble else None
        return {
            "last_day": None if last is None else last.last_day,
            "waiting": len(messages.waiting()),
            "failing": sum(row.state is DeliveryState.WAITING for row in trouble),
            "given_up": sum(row.state is DeliveryState.GIVEN_UP for row in trouble),
            "addressee": None if newest is None else newest.addressee,
            "problem": self._problem or (None if newest is None else newest.problem),
            "next_try_at": None if newest is None else newest.next_try_at,
        }


def _local(at: str) -> datetime:
    """Return a time of the journal on the local wall clock."""
    return datetime.fromisoformat(at).astimezone().replace(tzinfo=None)
