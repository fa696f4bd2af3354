"""
Headers for browsers, pages of other origins, and bodies that are too long or too slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from finetuned.serving.gateway.headers import (
    SECURITY,
    BodyLimit,
    SecurityHeaders,
    with_cors,
)

LIMIT = 1000


async def echo(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(str(len(body)), headers={"cache-control": "max-age=5"})


def client(*origins: str) -> TestClient:
    app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
    return TestClient(with_cors(SecurityHeaders(BodyLimit(app, max_bytes=LIMIT)), origins))


def test_every_answer_has_the_headers() -> None:
    """
    Refusals too; what a route has set itself stays.
    """
    expected = dict(SECURITY)
    for answer in (client().get("/nothing"), client().post("/", content=b"x" * (LIMIT + 1))):
        assert expected.items() <= dict(answer.headers).items()
    assert "max-age=5" == client().get("/").headers["cache-control"]
    assert "strict-transport-security" not in client().get("/").headers


def test_the_policy_lets_nothing_inline_run() -> None:
    """
    A prompt that got into a page would still not be a script.
    """
    policy = dict(SECURITY)["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


def chunks(total: int) -> Iterator[bytes]:
    for _ in range(total // 100):
        yield b"x" * 100
    yield b"x" * (total % 100)


@pytest.mark.parametrize(("size", "status"), [(0, 200), (LIMIT, 200), (LIMIT + 1, 413)])
def test_a_body_is_bounded_declared_or_in_chunks(size: int, status: int) -> None:
    """
    The connection ends after a refusal that came before the end of the body.
    """
    for body in (b"x" * size, chunks(size)):
        answer = client().post("/", content=body)
        assert status == answer.status_code
        if status == 413:
            if isinstance(body, bytes):
                assert "close" == answer.headers["connection"]
            assert str(LIMIT) in answer.json()["error"]["message"]
        else:
            assert str(size) == answer.text


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 400, "²"])
def test_a_length_that_is_none_is_refused_before_reading(length: str) -> None:
    """
    Whatever the server before us let through.
    """

    async def work() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            assert sent, "refused before anything is read"
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        async def app(*_: object) -> None:
            raise AssertionError("nothing may be called")

        headers = [(b"content-length", length.encode("latin-1"))]
        scope = {"type": "http", "headers": headers}
        await BodyLimit(app, max_bytes=LIMIT)(scope, receive, send)
        return sent

    assert asyncio.run(work())[0]["status"] in (400, 413)


def test_a_body_that_comes_too_slowly_is_cut_off() -> None:
    """
    One byte now and then holds a connection for so long and no longer.
    """

    async def work() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.sleep(0.005)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Message) -> None:
            sent.append(message)

        async def app(*_: object) -> None:
            raise AssertionError("nothing may be called")

        limit = BodyLimit(app, max_bytes=LIMIT, max_seconds=0.05)
        await limit({"type": "http", "headers": []}, receive, send)
        return sent

    assert 408 == asyncio.run(work())[0]["status"]


def test_a_client_that_leaves_is_answered_nothing_and_one_that_stays_is_watched() -> None:
    """
    After the body the application still learns that the client goes.
    """

    async def work() -> tuple[list[Message], list[str]]:
        sent: list[Message] = []
        seen: list[str] = []
        left = iter(
            [
                {"type": "http.request", "body": b"ab", "more_body": False},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> Message:
            return next(left)

        async def gone() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        async def app(_: object, receive_: object, __: object) -> None:
            assert callable(receive_)
            seen.append((await receive_())["body"])
            seen.append((await receive_())["type"])

        limit = BodyLimit(app, max_bytes=LIMIT)
        await limit({"type": "http", "headers": []}, gone, send)
        await limit({"type": "http", "headers": []}, receive, send)
        return sent, seen

    assert ([], [b"ab", "http.disconnect"]) == asyncio.run(work())


def preflight(found: TestClient, origin: str) -> dict[str, str]:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    return dict(found.options("/", headers=headers).headers)


def test_no_page_of_another_origin_may_ask_unless_it_is_listed() -> None:
    """
    And credentials of the browser are never part of it.
    """
    allowed = "https://a.example"

    assert "access-control-allow-origin" not in preflight(client(), allowed)
    assert "access-control-allow-origin" not in preflight(client(allowed), "https://b.example")
    found = preflight(client(allowed), allowed)
    assert allowed == found["access-control-allow-origin"]
    assert "access-control-allow-credentials" not in found
