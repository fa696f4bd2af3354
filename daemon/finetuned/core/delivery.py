"""
When a message that could not be delivered is tried again, and when it is given up. Pure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

FIRST_SECONDS: Final = 60.0
MOST_SECONDS: Final = 6 * 3600.0
"""Longest pause between two tries: a server that is down for a day is asked a few times."""

GIVE_UP_DAYS: Final = 7
"""Age at which a message is given up. What it told is still in the journal and the log."""


class DeliveryState(StrEnum):
    WAITING = "waiting"  # not delivered yet; tried again
    SENT = "sent"  # the server took it
    GIVEN_UP = "given_up"  # too old; nobody tries any more


def next_try(attempts: int, now: datetime) -> datetime:
    """
    Return when a message is tried again, after *attempts* (>= 1) tries that all failed.
    """
    seconds = min(MOST_SECONDS, FIRST_SECONDS * 4.0 ** min(attempts - 1, 10))
    return now + timedelta(seconds=seconds)


def is_given_up(written: datetime, now: datetime) -> bool:
    """
    Return whether a message is too old to be tried again.
    """
    return now - written > timedelta(days=GIVE_UP_DAYS)
