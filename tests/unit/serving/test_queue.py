"""
The queue between clients and engine, with an engine that is a list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from finetuned.core.generation import (
    Cancel,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Generate,
    Order,
    Piece,
    Sampling,
)
from finetuned.serving.gateway.errors import Refusal
from finetuned.serving.gateway.queue import RequestQueue


def order(name: str, model: str = "v0001") -> Generate:
    return Generate(id=name, model=model, sampling=Sampling(max_tokens=1), text="x")


def done(name: str) -> Finished:
    return Finished(
        id=name,
        model="v0001",
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        answer_tokens=1,
        confidence=1.0,
    )


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_so_many_run_so_many_wait_and_one_more_is_refused() -> None:
    """
    The refusal is 503 with Retry-After; a place that becomes free is taken at once.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=2, max_queue=1, request_seconds=9)
        sent: list[Order] = []
        queue.engine_up(sent.append, ["v0001"], {})
        for name in "abc":
            queue.submit(order(name))
        with pytest.raises(Refusal) as refused:
            queue.submit(order("d"))
        assert 503 == refused.value.status
        assert int(refused.value.headers["retry-after"]) >= 1
        assert (2, 1) == (queue.running, queue.waiting)
        queue.deliver(done("a"))
        assert ["a", "b", "c"] == [each.id for each in sent if isinstance(each, Generate)]

    run(test())


def test_what_cannot_be_sent_fails_alone_and_frees_its_place() -> None:
    """
    An order that has no spelling, whatever let it in, is the client's mistake.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=1, max_queue=1, request_seconds=9)
        sent: list[Order] = []

        def send(each: Order) -> None:
            if each.id == "bad":
                raise TypeError("surrogates not allowed")
            sent.append(each)

        queue.engine_up(send, ["v0001"], {})
        bad = queue.submit(order("bad"))
        queue.submit(order("good"))
        found = await bad.next()
        assert isinstance(found, Failed)
        assert FailureKind.BAD_REQUEST == found.kind
        assert ["good"] == [each.id for each in sent]
        assert 1 == queue.running

    run(test())


def test_what_had_not_begun_is_asked_again_in_its_order() -> None:
    """
    An engine that ends fails only the answers of which a piece was handed on.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=3, max_queue=9, request_seconds=9)
        first: list[Order] = []
        queue.engine_up(first.append, ["v0001"], {})
        tickets = [queue.submit(order(name)) for name in "abcd"]
        queue.deliver(Piece(id="b", text="x"))
        queue.engine_down("killed")
        assert isinstance(await tickets[1].next(), Piece)
        failed = await tickets[1].next()
        assert isinstance(failed, Failed)
        assert FailureKind.ENGINE == failed.kind
        second: list[Order] = []
        queue.engine_up(second.append, ["v0001"], {})
        assert ["a", "c", "d"] == [each.id for each in second if isinstance(each, Generate)]

    run(test())


def test_a_request_waits_for_its_own_model_and_holds_up_no_other() -> None:
    """
    What is not loaded yet waits; what cannot be loaded fails at once.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=1, max_queue=9, request_seconds=9)
        sent: list[Order] = []
        late = queue.submit(order("late", "v0002"))
        queue.submit(order("a"))
        queue.engine_up(sent.append, ["v0001"], {})
        assert ["a"] == [each.id for each in sent if isinstance(each, Generate)]
        queue.engine_up(sent.append, ["v0001"], {"v0002": "damaged"})
        failed = await late.next()
        assert isinstance(failed, Failed)
        assert FailureKind.NO_MODEL == failed.kind

    run(test())


def test_a_deadline_counts_the_wait() -> None:
    """
    A request that waits past its deadline ends with a sentence, and leaves the queue.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=1, max_queue=9, request_seconds=0.05)
        failed = await queue.submit(order("a")).next()
        assert isinstance(failed, Failed)
        assert FailureKind.DEADLINE == failed.kind
        assert 0 == queue.waiting

    run(test())


def test_a_cancelled_request_frees_its_place_when_the_engine_stopped() -> None:
    """
    The engine is told, and its place is taken by the next once it says so.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=1, max_queue=9, request_seconds=9)
        sent: list[Order] = []
        queue.engine_up(sent.append, ["v0001"], {})
        ticket = queue.submit(order("a"))
        queue.submit(order("b"))
        queue.cancel(ticket)
        assert Cancel(id="a") == sent[-1]
        assert (1, 1) == (queue.running, queue.waiting)
        queue.deliver(Failed(id="a", kind=FailureKind.CANCELLED, message="stopped"))
        assert "b" == sent[-1].id if isinstance(sent[-1], Generate) else False

    run(test())


def test_draining_takes_nothing_in_and_waits_for_what_runs() -> None:
    """
    After the time is over the rest fails, so that nobody waits for ever.
    """

    async def test() -> None:
        queue = RequestQueue(max_running=1, max_queue=9, request_seconds=9)
        queue.engine_up(lambda _: None, ["v0001"], {})
        ticket = queue.submit(order("a"))
        await queue.drain(0.05)
        failed = await ticket.next()
        assert isinstance(failed, Failed)
        assert "shutting down" in failed.message
        with pytest.raises(Refusal, match="shutting down"):
            queue.submit(order("b"))

    run(test())
