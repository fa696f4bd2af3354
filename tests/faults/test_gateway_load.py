"""
Four times as many clients as the service takes: who is let in is answered in time, and the rest
is told to come again. Memory stays flat.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from support.program import API_KEY, HEADERS, Program, program

LONG = bool(os.environ.get("FINETUNED_LONG"))
SECONDS = 60.0 if LONG else 3.0
RUNNING, WAITING = 4, 12
CLIENTS = 4 * (RUNNING + WAITING)
DEADLINE = 5.0
GRACE = 2.5
"""Seconds that the gateway gives an engine to say itself that it is late, and some for HTTP."""
MOST_MEGABYTES = 120
MOST_GROWTH = 10.0
"""MiB between a third of the time and the end."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    config = f"max_running = {RUNNING}\nmax_queue = {WAITING}\nrequest_seconds = {DEADLINE}"
    environment = {"RATE_LIMIT_PER_MINUTE": "10"}
    with program(
        tmp_path_factory.mktemp("served"), config=config, environment=environment
    ) as running:
        yield running


@dataclass
class Seen:
    """
    What the clients got.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: list[float] = field(default_factory=list)
    """Seconds of those that were answered."""
    without_retry: list[str] = field(default_factory=list)
    """Refusals that do not say when to come again."""
    megabytes: list[float] = field(default_factory=list)


async def one(client: httpx.AsyncClient, seen: Seen, headers: dict[str, str], n: int) -> None:
    """Ask once; a refused client waits a moment, though not as long as it is told to."""
    began = time.monotonic()
    body = {"prompt": f"slow 0.02 {n} " + "word " * 300, "max_tokens": 8, "temperature": 1}
    found = await client.post("/generate", json=body, headers=headers)
    seen.statuses[found.status_code] += 1
    if found.status_code == 200:
        seen.accepted.append(time.monotonic() - began)
        return
    if not found.headers.get("retry-after", "").isdigit():
        seen.without_retry.append(f"{found.status_code} {found.text[:200]}")
    await asyncio.sleep(0.05)


async def overload(served: Program) -> Seen:
    """
    Ask with all clients until the time is over; every fourth has a key with a limit.
    """
    seen = Seen()
    end = time.monotonic() + SECONDS
    admin = served.admin
    tls = ssl.create_default_context()  # of no use here, and slow to make for each client

    async def keep_asking(number: int) -> None:
        asked = 0
        headers = HEADERS if number % 4 == 0 else admin
        async with httpx.AsyncClient(base_url=served.url, timeout=60, verify=tls) as client:
            while time.monotonic() < end:
                await one(client, seen, headers, number * 100_000 + asked)
                asked += 1

    async def weigh() -> None:
        while time.monotonic() < end:
            seen.megabytes.append(served.megabytes())
            await asyncio.sleep(SECONDS / 30)

    await asyncio.gather(weigh(), *(keep_asking(n) for n in range(CLIENTS)))
    return seen


def test_four_times_the_capacity(served: Program) -> None:
    """
    200, 429 and 503 with Retry-After and nothing else; the deadline holds for who is let in.
    """
    seen = asyncio.run(overload(served))
    third = len(seen.megabytes) // 3
    growth = max(seen.megabytes[third:]) - max(seen.megabytes[: third + 1])
    print(
        f"\n{CLIENTS} clients, {SECONDS:g} s: {dict(seen.statuses)}; accepted: median "
        f"{statistics.median(seen.accepted):.2f} s, longest {max(seen.accepted):.2f} s; "
        f"memory {max(seen.megabytes):.0f} MiB, {growth:+.1f} after a third of the time"
    )
    assert {200, 429, 503} == set(seen.statuses)
    assert [] == seen.without_retry
    assert max(seen.accepted) < DEADLINE + GRACE
    assert seen.statuses[200] > 20
    assert max(seen.megabytes) < MOST_MEGABYTES
    assert growth < MOST_GROWTH


def test_large_bodies_at_once_are_bounded(served: Program) -> None:
    """
    A hundred clients send 2 MiB each at once: memory is bounded, and none is left without a word.
    """

    async def work() -> list[int]:
        body = b'{"prompt": "' + b"x" * (2**21 - 40) + b'", "max_tokens": 1}'
        timeout, limits = httpx.Timeout(60), httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=served.url, timeout=timeout, limits=limits) as client:
            posts = [
                client.post("/generate", content=body, headers=served.admin) for _ in range(100)
            ]
            return [found.status_code for found in await asyncio.gather(*posts)]

    statuses = Counter(asyncio.run(work()))
    print(f"\n100 bodies of 2 MiB: {dict(statuses)}, then {served.megabytes():.0f} MiB")
    assert {200, 503} >= set(statuses)
    assert statuses[200]
    assert served.megabytes() < 1.3 * MOST_MEGABYTES


def test_afterwards_it_is_as_before(served: Program) -> None:
    """
    Nothing runs or waits, nothing was logged as a bug, and a question is answered at once.
    """
    status = served.status()
    assert (0, 0) == (status["running"], status["waiting"])
    with served.client() as client:
        assert "base says: well" == client.post("/generate", json={"prompt": "well"}).json()["text"]
    log = served.log()
    assert "request_crashed" not in log
    assert "library_said" not in log
    assert API_KEY not in log
