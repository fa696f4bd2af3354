"""
Messages from the journal to their addressees, each with a time limit.

A try is counted before it begins and its outcome is recorded after it. If the process is killed
in between, the message is sent again: twice at worst, and never lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType

import orjson
import structlog

from finetuned.core.delivery import is_given_up, next_try
from finetuned.errors import FinetunedError
from finetuned.files.journal import Journal
from finetuned.files.message_rows import DeliveryRow
from finetuned.reports.daily.addresses import address_of
from finetuned.reports.daily.message import unpacked
from finetuned.reports.daily.send import load, send

log = structlog.get_logger()

TRY_SECONDS = 60
"""Longest time that one try may take; then it failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one try.
    """

    addressee: str
    message: int
    problem: str | None
    """None if the server took the message."""


def deliver_due(
    journal: Journal,
    to: Collection[str],
    *,
    only: int | None = None,
    seconds: int = TRY_SECONDS,
    environment: Mapping[str, str] = os.environ,
) -> list[Outcome]:
    """
    Try every delivery whose time has come, once; in the main thread of a process.

    Args:
        journal: Where messages wait.
        to: Names of ``report.to``; what waits for another name is given up.
        only: Number of the only message to try.
        seconds: Longest time of one try, >= 1.
        environment: Where addresses are found.

    Raises:
        sqlite3.OperationalError: The journal cannot be written; what was not tried still waits.
    """
    due = journal.messages.due(datetime.now(UTC))
    if due:
        load()
    outcomes = []
    for row in due:
        if only is not None and row.message != only:
            continue
        gone = row.addressee not in to
        if gone or is_given_up(_written(journal, row), datetime.now(UTC)):
            journal.messages.give_up(row)
            log.error(
                "message_given_up",
                message=row.message,
                addressee=row.addressee,
                attempts=row.attempts,
                reason="report.to does not name it any more" if gone else row.problem,
            )
            continue
        outcomes.append(_try(journal, row, seconds, environment))
    return outcomes


def _written(journal: Journal, row: DeliveryRow) -> datetime:
    return datetime.fromisoformat(journal.messages.get(row.message).written_at)


def _try(
    journal: Journal, row: DeliveryRow, seconds: int, environment: Mapping[str, str]
) -> Outcome:
    message = journal.messages.get(row.message)
    journal.messages.begin_try(row, next_try(row.attempts + 1, datetime.now(UTC)))
    problem: str | None
    try:
        with time_limit(seconds):
            address = address_of(row.addressee, environment)
            problem = send(address, message.subject, unpacked(message.body), message.picture)
    except TimeoutError:
        problem = f"the server did not answer within {seconds} s"
    except (FinetunedError, orjson.JSONDecodeError) as error:
        problem = str(error)
    names = {"message": row.message, "addressee": row.addressee, "attempts": row.attempts + 1}
    if problem is None:
        journal.messages.note_sent(row)
        log.info("message_sent", **names)
    else:
        journal.messages.note_failed(row, problem)
        log.warning("message_not_sent", **names, reason=problem)
    return Outcome(row.addressee, row.message, problem)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """
    End the block with TimeoutError after *seconds*, wherever it waits. In the main thread only.
    """

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
