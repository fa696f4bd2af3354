"""
Connections that send no request in time are closed; others are not touched.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from finetuned.serving.gateway.connection import Connection
from support.gateway import wait_until

HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Hasty(Connection):
    head_seconds = 0.5


async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after longer than a head may take."""
    await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(slow_app, http=Hasty, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    wait_until(lambda: server.started, "it does not listen")
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\n"])
def test_who_sends_no_whole_head_is_cut_off(port: int, begun: bytes) -> None:
    """
    Nothing, a part of a line, or all but the end of the head.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        began = time.monotonic()
        client.sendall(begun)
        assert b"" == client.recv(100)
        assert time.monotonic() - began < 5


def test_a_slow_answer_and_a_second_request_are_served(port: int) -> None:
    """
    The limit is of the head alone, on each request of a connection.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for _ in range(2):
            client.sendall(HEAD[:9])
            client.sendall(HEAD[9:])
            assert client.recv(100).startswith(b"HTTP/1.1 204")
        client.sendall(HEAD[:9])
        assert b"" == client.recv(100)
