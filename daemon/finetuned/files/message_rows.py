"""
One row of the journal's tables about reports and messages, as values.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import ClassVar

from finetuned.core.delivery import DeliveryState
from finetuned.core.notice import NoticeKind


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """
    Something that a person may be told at once.
    """

    table: ClassVar[str] = "notices"

    id: int
    kind: NoticeKind
    at: str
    job_id: str | None
    version: str | None
    detail: str
    """Why, in the words of the gate or of the error."""
    message: int | None
    """The message that tells it; 0 if nobody asked to be told, None if it waits."""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """
    A message that was written, in every form that it is sent in.
    """

    table: ClassVar[str] = "messages"

    id: int
    written_at: str
    subject: str
    body: str
    """JSON of reports/daily/message.py; empty once nobody waits for it."""
    picture: builtins.bytes | None
    """PNG that its HTML refers to."""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """
    A message on its way to one addressee.
    """

    table: ClassVar[str] = "deliveries"

    message: int
    addressee: str
    """A name of ``report.to``."""
    state: DeliveryState
    attempts: int
    """Counted before each try, so that a try that never ended counts."""
    next_try_at: str
    problem: str | None
    """Why the last try failed."""
    sent_at: str | None


@dataclass(frozen=True, slots=True)
class DailyReportRow:
    """
    A daily report that was made.
    """

    table: ClassVar[str] = "daily_reports"

    last_day: str
    """Local date, like the next: the report covers both and all between."""
    first_day: str
    made_at: str
    message: int | None
    """None if ``report.to`` named nobody."""
