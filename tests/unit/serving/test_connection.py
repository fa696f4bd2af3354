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
    unread_seconds = 0.5
    most = 3


async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after longer than a head may take; /long has more than a socket's buffers hold."""
    if scope["path"] == "/long":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(300):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body"})
        return
    await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(slow_app, http=Hasty, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    wait_until(lambda: server.started, "it does not listen")
    yield server
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def port(server: uvicorn.Server) -> int:
    found: int = server.servers[0].sockets[0].getsockname()[1]
    return found


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


def test_who_does_not_read_is_cut_off(server: uvicorn.Server, port: int) -> None:
    """
    An answer that is longer than the buffers of both sides keeps no memory and no place.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(HEAD.replace(b"/", b"/long", 1))
        assert client.recv(12) == b"HTTP/1.1 200"
        wait_until(lambda: not server.server_state.connections, "it waits for the client", 10)


def test_idle_ones_make_room_and_busy_ones_stay(port: int) -> None:
    """
    At most three: a fourth takes the place of one that is idle, or is told to come again.
    """
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
    clients[1].sendall(HEAD)
    clients[2].sendall(HEAD)
    time.sleep(0.1)
    clients.append(socket.create_connection(("127.0.0.1", port), timeout=10))
    assert b"" == clients[0].recv(100)
    clients[3].sendall(HEAD)
    time.sleep(0.1)
    clients.append(socket.create_connection(("127.0.0.1", port), timeout=10))
    clients[4].sendall(HEAD)
    assert clients[4].recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    for busy in clients[1:4]:
        assert busy.recv(100).startswith(b"HTTP/1.1 204")
    for each in clients:
        each.close()
