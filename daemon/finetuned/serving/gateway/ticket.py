"""
One request on its way: what the engine was or will be asked, and what it has answered so far.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from finetuned.core.generation import (
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Finished,
    Generate,
    Piece,
)

Answering = Piece | Finished | Embedded | Failed
"""What arrives for one request; all but a Piece end it."""

Asked = Generate | Embed

MOST_TRIES = 2
"""A request that had not begun when the engine ended is asked once more, not for ever."""


class Ticket:
    """
    A request between its arrival and its end. Belongs to one event loop.
    """

    def __init__(self, order: Asked, *, now: float, deadline: float) -> None:
        """
        Args:
            order: What to ask.
            now: Of the loop's clock, in seconds.
            deadline: When the answer has to be whole, likewise.
        """
        self.order = order
        self.arrived = now
        self.deadline = deadline
        self.sent: float | None = None
        """When the engine had it last; None while it waits."""
        self.first: float | None = None
        """When its first token came."""
        self.gaps: list[float] = []
        """Seconds between its pieces."""
        self._last = now
        self.tries = 0
        self.ended = False
        self._reports: asyncio.Queue[Answering] = asyncio.Queue()

    @property
    def id(self) -> str:
        return self.order.id

    @property
    def begun(self) -> bool:
        """Whether the client may have seen a part of the answer."""
        return self.first is not None

    def to_send(self, now: float) -> Asked:
        """
        Return the order with the seconds that are left, and count the try.
        """
        self.sent = now
        self.tries += 1
        if isinstance(self.order, Embed):
            return self.order
        return replace(self.order, seconds=max(0.01, self.deadline - now))

    def put(self, report: Answering, now: float) -> None:
        """
        Add what the engine answered; nothing is added after the end.
        """
        if self.ended:
            return
        if isinstance(report, Piece):
            if self.first is None:
                self.first = now
            else:
                self.gaps.append(now - self._last)
            self._last = now
        self.ended = not isinstance(report, Piece)
        self._reports.put_nowait(report)

    def fail(self, kind: FailureKind, message: str, now: float) -> None:
        """
        End it without an answer.
        """
        self.put(Failed(id=self.id, kind=kind, message=message), now)

    async def next(self) -> Answering:
        """
        Wait for what comes next. Must not be called after the end was returned.
        """
        return await self._reports.get()
