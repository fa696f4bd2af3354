"""
When notices become a message: gathered, spaced, and never in quiet hours. Pure.

A notice of a kind that was not told lately waits only until the notices that come with it are
there. A kind that was told a moment ago waits longer, twice as long each time, so that a stream
of rejections is a few messages a day. A message carries every notice that waits, whatever its
kind, so that what is rare is never held back by what is frequent. Knows no journal and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Final

from finetuned.core.notice import NoticeKind

MOST_SECONDS: Final = 8 * 3600.0
"""The longest time between two messages for one kind."""


@dataclass(frozen=True, slots=True)
class Spacing:
    """
    How notices are put together.
    """

    gather_seconds: float
    """How long the first of a message waits for others, >= 0."""
    again_seconds: float
    """Least time between two messages for one kind at first, >= 0."""
    quiet: tuple[time, time] | None = None
    """Local begin and end of the hours without messages; they may span midnight."""


@dataclass(frozen=True, slots=True)
class Told:
    """
    When a kind was told last, and how long it is spaced since.
    """

    at: datetime
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Digest:
    """
    What is remembered of earlier messages.
    """

    told: Mapping[NoticeKind, Told] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """
    A notice that was not sent yet.
    """

    kind: NoticeKind
    at: datetime
    """Local wall clock, like every time here."""


def is_quiet(now: datetime, quiet: tuple[time, time] | None) -> bool:
    """
    Return whether *now* lies in the quiet hours; their end does not.
    """
    if quiet is None:
        return False
    begin, end = quiet
    clock = now.time()
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def due_at(state: Digest, pending: Sequence[Pending], spacing: Spacing) -> datetime | None:
    """
    Return from when a message may be sent, quiet hours left aside; None if nothing waits.
    """
    first: dict[NoticeKind, datetime] = {}
    for notice in pending:
        first[notice.kind] = min(notice.at, first.get(notice.kind, notice.at))
    times = []
    for kind, at in first.items():
        ready = at + timedelta(seconds=spacing.gather_seconds)
        told = state.told.get(kind)
        if told is not None:
            ready = max(ready, told.at + timedelta(seconds=told.gap_seconds))
        times.append(ready)
    return min(times, default=None)


def is_time(state: Digest, pending: Sequence[Pending], spacing: Spacing, now: datetime) -> bool:
    """
    Return whether everything that waits is sent now, as one message.

    A clock that went back holds nothing up: what seems to come from the future was gathered long
    ago, and what was told in the future is forgotten.
    """
    long_ago = now - timedelta(seconds=spacing.gather_seconds)
    pending = [Pending(n.kind, n.at if n.at <= now else long_ago) for n in pending]
    state = Digest({kind: told for kind, told in state.told.items() if told.at <= now})
    due = due_at(state, pending, spacing)
    return due is not None and due <= now and not is_quiet(now, spacing.quiet)


def after_message(
    state: Digest, pending: Sequence[Pending], spacing: Spacing, now: datetime
) -> Digest:
    """
    Return what is remembered once everything that waits was sent as one message.
    """
    told = dict(state.told)
    for kind in {notice.kind for notice in pending}:
        before, gap = told.get(kind), spacing.again_seconds
        if before is not None and now - before.at < timedelta(seconds=2 * before.gap_seconds):
            gap = min(MOST_SECONDS, max(gap, 2 * before.gap_seconds))
        told[kind] = Told(now, gap)
    return Digest(told)


def to_text(state: Digest) -> dict[str, list[str | float]]:
    """
    Return *state* as plain JSON.
    """
    return {str(kind): [told.at.isoformat(), told.gap_seconds] for kind, told in state.told.items()}


def from_text(value: object) -> Digest:
    """
    Return the state that to_text described; what cannot be read is forgotten.

    Nothing is lost by that: at worst a message comes earlier than it had to.
    """
    told: dict[NoticeKind, Told] = {}
    for word, entry in value.items() if isinstance(value, Mapping) else ():
        try:
            at, gap = entry
            told[NoticeKind(word)] = Told(datetime.fromisoformat(at), float(gap))
        except (TypeError, ValueError):
            continue
    return Digest(told)
