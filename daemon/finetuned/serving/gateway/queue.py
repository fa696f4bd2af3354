"""
The bounded queue between clients and engine: who waits, who runs, and who is asked again.

A request is kept here until the engine has answered it, so that an engine that dies loses
only answers that had begun. Does not know HTTP, nor how the engine is started.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping

from finetuned.core.generation import Cancel, Embedded, Failed, FailureKind, Finished, Order
from finetuned.serving.gateway.errors import Refusal, unavailable
from finetuned.serving.gateway.ticket import MOST_TRIES, Answering, Asked, Ticket

Send = Callable[[Order], None]

GRACE_SECONDS = 2.0
"""How long past a deadline the engine may take to say so itself."""


class RequestQueue:
    """
    Requests in the order of their arrival. Belongs to one event loop; nothing here blocks.
    """

    def __init__(self, *, max_running: int, max_queue: int, request_seconds: float) -> None:
        """
        Args:
            max_running: Requests that the engine has at once, >= 1.
            max_queue: Requests that wait, >= 0.
            request_seconds: Deadline of each, from its arrival.
        """
        self._max_running = max_running
        self._max_queue = max_queue
        self._request_seconds = request_seconds
        self._waiting: deque[Ticket] = deque()
        self._running: dict[str, Ticket] = {}
        self._send: Send | None = None
        self._held: frozenset[str] = frozenset()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._seconds_each = 0.1
        self._closed = False
        self.turned_away = 0
        """Requests that were refused since the queue was full."""
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def submit(self, order: Asked) -> Ticket:
        """
        Take a request in.

        Raises:
            Refusal: 503: the queue is full, or the service is shutting down.
        """
        if self._closed:
            raise unavailable("the service is shutting down", retry_seconds=5, code="shutting_down")
        free = self._max_running - self.running if self._send is not None else 0
        if self.waiting >= self._max_queue + max(0, free):
            self.turned_away += 1
            raise self._full()
        now = _now()
        ticket = Ticket(order, now=now, deadline=now + self._request_seconds)
        self._waiting.append(ticket)
        self._empty.clear()
        self._call_at(ticket, ticket.deadline, self._expire)
        self._pump()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """
        Stop working for a client that is gone; harmless if the request has ended.

        The place of a running request is free once the engine says that it stopped.
        """
        if ticket.ended:
            return
        if ticket.id in self._running:
            self._tell(Cancel(id=ticket.id))
        else:
            self._leave(ticket)
        ticket.fail(FailureKind.CANCELLED, "the client has gone", _now())

    def engine_up(self, send: Send, held: Collection[str], lost: Mapping[str, str]) -> None:
        """
        Ask for answers of the models that the engine holds; called at each change of them.

        Args:
            send: Writes to the engine.
            held: Names of the models.
            lost: Why a model cannot be loaded, by name: requests for it have no answer.
        """
        self._send = send
        self._held = frozenset(held)
        for ticket in [t for t in self._waiting if t.order.model in lost]:
            why = f"{ticket.order.model} cannot be loaded: {lost[ticket.order.model]}"
            self._leave(ticket)
            ticket.fail(FailureKind.NO_MODEL, why, _now())
        self._pump()

    def models(self) -> set[str]:
        """
        Return the names of the models that requests wait for or run on.
        """
        return {t.order.model for t in (*self._waiting, *self._running.values())}

    def engine_down(self, why: str) -> None:
        """
        Stop asking. What had begun fails; what had not waits at the front for the next engine.
        """
        self._send = None
        self._held = frozenset()
        again = []
        for ticket in list(self._running.values()):
            del self._running[ticket.id]
            if ticket.begun or ticket.ended or ticket.tries >= MOST_TRIES:
                self._end(ticket)
                ticket.fail(FailureKind.ENGINE, _lost(ticket, why), _now())
            else:
                ticket.sent = None
                again.append(ticket)
        self._waiting.extendleft(reversed(again))
        self._settle()

    def deliver(self, report: Answering) -> None:
        """
        Hand what the engine wrote to whoever waits for it.
        """
        ticket = self._running.get(report.id)
        if ticket is None:
            return  # it was cancelled, or failed here, and the engine had not read that yet
        now = _now()
        ticket.put(report, now)
        if isinstance(report, Finished | Embedded | Failed):
            if isinstance(report, Finished) and ticket.sent is not None:
                self._seconds_each += 0.1 * (now - ticket.sent - self._seconds_each)
            self._leave(ticket)
            self._pump()

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more, since the service ends."""
        return self._closed

    async def drain(self, seconds: float) -> None:
        """
        Take no more requests in, and wait until all have ended; after *seconds* they fail.
        """
        self._closed = True
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for ticket in [*self._running.values(), *self._waiting]:
                self._leave(ticket)
                ticket.fail(FailureKind.STOPPED, "the service is shutting down", _now())

    def _full(self) -> Refusal:
        seconds = self._seconds_each * (self.waiting + 1) / self._max_running
        return unavailable(
            f"{self.running} requests run and {self.waiting} wait, which is all that this service "
            f"takes (serving.max_queue = {self._max_queue}); ask again after Retry-After",
            retry_seconds=seconds,
            code="queue_full",
        )

    def _pump(self) -> None:
        while self._send is not None and self.running < self._max_running:
            ticket = next((t for t in self._waiting if t.order.model in self._held), None)
            if ticket is None:
                return
            self._waiting.remove(ticket)
            self._running[ticket.id] = ticket
            try:
                self._tell(ticket.to_send(_now()))
            except (TypeError, ValueError) as error:  # it cannot be spelled; others can
                self._leave(ticket)
                why = f"the request cannot be sent to the engine: {error}"
                ticket.fail(FailureKind.BAD_REQUEST, why, _now())

    def _tell(self, order: Order) -> None:
        if self._send is not None:
            self._send(order)

    def _expire(self, ticket: Ticket) -> None:
        """At the deadline: one that waits ends now, one that runs gets a moment of grace."""
        if ticket.id in self._running:
            self._call_at(ticket, ticket.deadline + GRACE_SECONDS, self._give_up)
            return
        self._leave(ticket)
        ticket.fail(FailureKind.DEADLINE, self._late("it was still waiting for its turn"), _now())

    def _give_up(self, ticket: Ticket) -> None:
        self._tell(Cancel(id=ticket.id))
        ticket.fail(FailureKind.DEADLINE, self._late("the engine did not finish it"), _now())
        # Its place stays taken until the engine says that it stopped, or is restarted.

    def _late(self, why: str) -> str:
        return (
            f"no whole answer within {self._request_seconds:g} s (serving.request_seconds): {why}; "
            "ask again, or for fewer tokens"
        )

    def _call_at(self, ticket: Ticket, when: float, act: Callable[[Ticket], None]) -> None:
        loop = asyncio.get_running_loop()
        self._timers[ticket.id] = loop.call_at(when, act, ticket)

    def _leave(self, ticket: Ticket) -> None:
        self._running.pop(ticket.id, None)
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._end(ticket)
        self._settle()

    def _end(self, ticket: Ticket) -> None:
        timer = self._timers.pop(ticket.id, None)
        if timer is not None:
            timer.cancel()

    def _settle(self) -> None:
        if not self._running and not self._waiting:
            self._empty.set()


def _lost(ticket: Ticket, why: str) -> str:
    if ticket.begun:
        return f"the engine ended in the middle of this answer ({why}); ask again"
    return f"the engine ended {ticket.tries} times while it had this request ({why})"


def _now() -> float:
    return asyncio.get_running_loop().time()
