"""
Requests and tokens a minute: what is let in, what is told to wait, and for how long.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config.serving import Tier
from finetuned.core.access import Caller, Scope
from finetuned.errors import ConfigError
from finetuned.serving.gateway.limits import Allowed, Limiter, span
from finetuned.serving.gateway.refusal import Refused
from support.counting import redis_server


def caller(requests: int = 0, tokens: int = 0, name: str = "a") -> Caller:
    tier = Tier(name="t", requests_per_minute=requests, tokens_per_minute=tokens)
    return Caller(id=name, name=name, scopes=(Scope.ASK,), tier=tier)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock that the library and we read, at the beginning of a minute."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


def test_so_many_requests_and_no_more(clock: list[float]) -> None:
    """
    The answer says how long to wait, and waiting that long helps.
    """

    async def work() -> None:
        limiter, me = Limiter(), caller(requests=3)
        for left in ("2", "1", "0"):
            found = await limiter.admit(me)
            assert isinstance(found, Allowed)
            assert left == dict(found.headers)["x-ratelimit-remaining-requests"]
        refused = await limiter.admit(me)
        assert isinstance(refused, Refused)
        headers = dict(refused.headers)
        assert 429 == refused.status
        assert "3" == headers["x-ratelimit-limit-requests"]
        assert isinstance(await limiter.admit(caller(requests=3, name="b")), Allowed)
        clock[0] += 120
        assert isinstance(await limiter.admit(me), Allowed)

    run(work())


def test_tokens_are_counted_as_they_were_used(clock: list[float]) -> None:
    """
    The answer that goes over the limit is whole; the next request waits for the minute's end.
    """

    async def work() -> None:
        limiter, me = Limiter(), caller(tokens=100)
        assert isinstance(await limiter.admit(me, most_tokens=100), Allowed)
        await limiter.spend(me, 99)
        found = await limiter.admit(me, most_tokens=100)
        assert isinstance(found, Allowed)
        assert "1" == dict(found.headers)["x-ratelimit-remaining-tokens"]
        await limiter.spend(me, 50)
        clock[0] += 20
        refused = await limiter.admit(me)
        assert isinstance(refused, Refused)
        assert "40" == dict(refused.headers)["retry-after"]
        clock[0] += 40
        assert isinstance(await limiter.admit(me), Allowed)

    run(work())


def test_a_request_that_can_never_fit_is_told_both_numbers(clock: list[float]) -> None:
    """
    No time to wait is named: waiting does not help.
    """

    async def work() -> None:
        refused = await Limiter().admit(caller(tokens=100), most_tokens=101)
        assert isinstance(refused, Refused)
        assert "101" in refused.message
        assert "100" in refused.message
        assert "retry-after" not in dict(refused.headers)

    run(work())


def test_a_tier_without_limits_has_no_headers(clock: list[float]) -> None:
    """
    Nothing is counted.
    """

    async def work() -> None:
        limiter, me = Limiter(), caller()
        for _ in range(50):
            assert Allowed(()) == await limiter.admit(me, most_tokens=10**9)
        await limiter.spend(me, 10**9)

    run(work())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.lists(st.floats(0, 40), min_size=1, max_size=60))
def test_never_more_than_twice_the_limit_in_any_minute(limit: int, waits: list[float]) -> None:
    """
    The sliding count is exact within one minute of the clock, and near it across two.
    """

    async def work() -> None:
        limiter, me = Limiter(), caller(requests=limit)
        let_in: list[float] = []
        for wait in waits:
            now[0] += wait
            if isinstance(await limiter.admit(me), Allowed):
                let_in.append(now[0])
        for at in let_in:
            window = sum(at <= other < at + 60 for other in let_in)
            assert window <= 2 * limit
        for minute in {at // 60 for at in let_in}:
            assert sum(at // 60 == minute for at in let_in) <= limit

    now = [1_800_000_000.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: now[0])
        run(work())


def test_spans_are_written_as_openai_does() -> None:
    """
    Rounded up: waiting that long is enough.
    """
    assert ["0ms", "250ms", "2s", "59s", "1m0s", "1m1s"] == [
        span(s) for s in (-1, 0.25, 1.1, 59, 60, 60.5)
    ]


@pytest.mark.parametrize("uri", ["memcached://x", "localhost:6379", "redis"])
def test_a_storage_that_is_not_known_is_refused(uri: str) -> None:
    """
    At the start, not at the first request.
    """
    with pytest.raises(ConfigError, match="expected redis://"):
        Limiter(uri)


def test_without_redis_each_gateway_counts_for_itself_and_says_so() -> None:
    """
    Limits hold, and requests do not wait for a server that is gone.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def work() -> None:
            limiter, me = Limiter(f"redis://127.0.0.1:{port}/0"), caller(requests=1)
            assert isinstance(await limiter.admit(me), Allowed)
            assert isinstance(await limiter.admit(me), Refused)
            assert limiter.problem is not None
            assert "Redis" in limiter.problem
            await limiter.close()

        run(work())


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as uri:
        yield uri


def test_two_gateways_count_together_in_redis(redis: str) -> None:
    """
    A real server; both limits.
    """

    async def work() -> None:
        first, second, me = Limiter(redis), Limiter(redis), caller(requests=2, tokens=10)
        assert isinstance(await first.admit(me), Allowed)
        assert isinstance(await second.admit(me), Allowed)
        assert isinstance(await first.admit(me), Refused)
        other = caller(tokens=10, name="b")
        await first.spend(other, 10)
        assert isinstance(await second.admit(other), Refused)
        assert first.problem is None
        assert second.problem is None
        await first.close()
        await second.close()

    run(work())
