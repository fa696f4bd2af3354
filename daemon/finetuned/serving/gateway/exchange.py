"""
One request from its arrival to its record: asked of the cache, then of the engine.

Does not know OpenAI's shapes. close() must be called in every case: it frees the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import TypeVar

from starlette.requests import Request

from finetuned.core.access import Caller
from finetuned.core.generation import (
    Embedded,
    Failed,
    FailureKind,
    Finished,
    Generate,
    Piece,
    TokenLogprob,
)
from finetuned.serving.gateway.cache import HEADER as CACHE_HEADER
from finetuned.serving.gateway.cache import Lookup
from finetuned.serving.gateway.errors import Refusal, refusal_of
from finetuned.serving.gateway.metering import Answer, Record
from finetuned.serving.gateway.service import Service
from finetuned.serving.gateway.ticket import Answering

T = TypeVar("T")

CLIENT_GONE = 499
"""The status that is recorded for a client that went away; nginx's word for it."""


class Exchange:
    """
    One generation for one client.
    """

    @classmethod
    async def open(
        cls, service: Service, *, route: str, caller: Caller, order: Generate
    ) -> Exchange:
        """
        Count the request against its caller's tier, and ask the cache or the engine.

        Raises:
            Refusal: 429: the caller has used up their minute. 503: the queue is full.
        """
        try:
            limits = await service.admit(caller, order.sampling.max_tokens)
            return cls(service, route=route, caller=caller, order=order, limits=limits)
        except Refusal as refusal:
            service.ended(
                Record(
                    request_id=order.id,
                    route=route,
                    status=refusal.status,
                    caller=caller,
                    order=order,
                    model=order.model,
                )
            )
            raise

    def __init__(
        self,
        service: Service,
        *,
        route: str,
        caller: Caller,
        order: Generate,
        limits: Mapping[str, str],
    ) -> None:
        """
        Take a request that its caller may send; *limits* are headers of its response.

        Raises:
            Refusal: 503: the queue is full.
        """
        self._service = service
        self._route = route
        self._caller = caller
        self._limits = limits
        self.order = order
        self._failure: FailureKind | None = None
        self._began = asyncio.get_running_loop().time()
        self._status = CLIENT_GONE
        self._answer: Answer | None = None
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._head: Answering | None = None
        self._closed = False
        self._lookup, known, self._keep = service.cache.get(order.model, order)
        self._known = known
        self._ticket = None if known is not None else service.queue.submit(order)

    @property
    def cached(self) -> bool:
        """Whether the answer was given before."""
        return self._lookup is Lookup.HIT

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response that say what answered."""
        return {
            **self._limits,
            "x-request-id": self.order.id,
            "x-finetuned-version": self.order.model,
            CACHE_HEADER: self._lookup,
        }

    async def first(self) -> None:
        """
        Wait for the first token.

        Raises:
            Refusal: There will be none.
        """
        if self._ticket is not None:
            self._head = await self._ticket.next()
            self._check(self._head)

    async def pieces(self) -> AsyncIterator[Piece]:
        """
        Return the text as it comes; afterwards ``answer`` is whole.

        Raises:
            Refusal: The answer ended early.
        """
        if self._known is not None:
            self._end(self._known)
            yield Piece(id=self.order.id, text=self._known.text, logprobs=self._known.logprobs)
            return
        assert self._ticket is not None  # noqa: S101
        while True:
            report = self._head or await self._ticket.next()
            self._head = None
            self._check(report)
            if isinstance(report, Finished):
                text = "".join(self._texts)
                self._end(Answer(text, report, tuple(self._logprobs)))
                return
            if isinstance(report, Piece):
                self._texts.append(report.text)
                self._logprobs.extend(report.logprobs)
                yield report

    async def whole(self) -> Answer:
        """
        Wait for the whole answer.

        Raises:
            Refusal: There is none.
        """
        async for _ in self.pieces():
            pass
        return self.answer

    @property
    def answer(self) -> Answer:
        """The whole answer, once pieces() has ended."""
        assert self._answer is not None  # noqa: S101
        return self._answer

    def _tokens(self) -> int:
        """Return what the caller's tier is charged; a part of an answer by its pieces."""
        if self._answer is not None:
            finished = self._answer.finished
            return finished.prompt_tokens + finished.answer_tokens
        return len(self._texts)

    def close(self) -> None:
        """
        Cancel what still runs, charge and record the request; harmless the second time.
        """
        if self._closed:
            return
        self._closed = True
        ticket = self._ticket
        if ticket is not None:
            self._service.queue.cancel(ticket)
        first = ticket.first if ticket is not None else None
        sent = ticket.sent if ticket is not None else None
        now = asyncio.get_running_loop().time()
        if not self.cached:
            self._service.charge(self._caller, self._tokens())
        self._service.ended(
            Record(
                request_id=self.order.id,
                route=self._route,
                status=self._status,
                caller=self._caller,
                seconds=now - self._began,
                queue_seconds=0.0 if sent is None else sent - self._began,
                first_seconds=None if first is None else first - self._began,
                sent=sent is not None,
                gaps=() if ticket is None else ticket.gaps,
                model=self.order.model,
                order=self.order,
                answer=self._answer,
                failure=self._failure,
                cached=self.cached,
            )
        )

    def _check(self, report: Answering) -> None:
        if isinstance(report, Failed):
            refusal = refusal_of(report)
            self._status, self._failure = refusal.status, report.kind
            raise refusal

    def _end(self, answer: Answer) -> None:
        self._status = 200
        self._answer = answer
        if not self.cached:
            self._service.answered()
            if self._keep is not None:
                self._service.cache.put(self._keep, answer, answer.n_bytes)


class ClientGone(Exception):
    """
    Nobody waits for the response any more.
    """


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """
    Return the result of *work*, which is cancelled if the client goes first.

    The body must have been read.

    Raises:
        ClientGone: It went.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def embedded(report: Answering) -> Embedded:
    """
    Return the vectors of an Embed.

    Raises:
        Refusal: There are none.
    """
    if isinstance(report, Failed):
        raise refusal_of(report)
    if not isinstance(report, Embedded):
        raise Refusal(503, "the engine gave text and no vectors", code="engine_failed")
    return report
