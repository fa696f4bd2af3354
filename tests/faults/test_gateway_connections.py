"""
Connections that are of no use: idle, slow, half closed, full of noise. Others are served beside.
"""

from __future__ import annotations

import os
import random
import resource
import select
import socket
import statistics
import time
from collections.abc import Iterator

import httpx
import pytest

from support.gateway import wait_until
from support.program import API_KEY, Program, program

LONG = bool(os.environ.get("FINETUNED_LONG"))
IDLE = 10_000 if LONG else 600
"""Connections that send nothing; the service of these tests takes 500, or 4096 in the long run."""
MOST_MEGABYTES = 120
SERVER_ERRORS = (500, 502, 504)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """
    A service over the fake engine, whose limit of open files is low unless the test is long.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 500:
        pytest.skip(f"needs {IDLE + 500} open files, this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 500), hard))
    environment = {} if LONG else {"FINETUNED_TEST_CONNECTIONS": "500"}
    with program(tmp_path_factory.mktemp("served"), environment=environment) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def raw(served: Program, data: bytes, *, seconds: float = 20.0) -> bytes:
    """
    Send bytes on a connection of their own, and return what comes until it is closed.
    """
    found = b""
    with socket.create_connection(served.address, timeout=seconds) as connection:
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                found += part
        except ConnectionError:
            pass
    return found


def request(body: bytes, path: str = "/generate", *, close: bool = True) -> bytes:
    """
    Return a request as bytes.
    """
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {API_KEY}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return (head + ("connection: close\r\n" if close else "") + "\r\n").encode() + body


def test_idle_connections_take_nobody_s_place(served: Program) -> None:
    """
    More than the service takes connect and send nothing: a client is answered, and memory is not.
    """
    idle: list[socket.socket] = []
    try:
        while len(idle) < IDLE:
            idle.append(socket.create_connection(served.address, timeout=20))
        began = time.monotonic()
        with served.client() as client:
            answer = client.post("/generate", json={"prompt": "hello"})
        assert (200, "base says: hello") == (answer.status_code, answer.json()["text"])
        assert time.monotonic() - began < 5
        megabytes = served.megabytes()
        print(f"\n{IDLE} idle connections: the gateway has {megabytes:.0f} MiB")
        assert megabytes < MOST_MEGABYTES
    finally:
        for each in idle:
            each.close()


@pytest.mark.long
def test_slow_senders_are_cut_off_and_hold_nobody_up(served: Program) -> None:
    """
    Heads and bodies that come a byte at a time (slowloris), 200 of each: all are over in time.
    """
    began = time.monotonic()
    slow = [
        (number % 2, socket.create_connection(served.address, timeout=30)) for number in range(400)
    ]
    body = request(b"x" * 1000)[:-999]
    for is_body, connection in slow:
        connection.sendall(body if is_body else body[:20])
    found: dict[int, bytes] = {}
    while len(found) < len(slow):
        assert time.monotonic() - began < 20
        with served.client() as client:
            assert 200 == client.post("/generate", json={"prompt": "hello"}).status_code
        for number, (_, connection) in enumerate(slow):
            if number in found:
                continue
            try:
                if select.select([connection], [], [], 0)[0]:
                    found[number] = connection.recv(65536)
                else:
                    connection.sendall(b"x")
            except ConnectionError:
                found.setdefault(number, b"")
        time.sleep(0.5)
    for number, (is_body, connection) in enumerate(slow):
        assert found[number].startswith(b"HTTP/1.1 408" if is_body else b"")
        connection.close()


def test_a_long_body_is_refused_and_the_client_sees_it(served: Program) -> None:
    """
    Also where it sends the whole body before it reads: the connection is not reset under it.
    """
    with served.client() as client:
        for _ in range(5):
            found = client.post("/generate", content=b"x" * (5 << 20))
            assert 413 == found.status_code
            assert "body_too_large" == found.json()["error"]["code"]
    with httpx.Client() as stranger:
        refused = stranger.post(f"{served.url}/generate", content=b"x" * (1 << 20))
    assert 401 == refused.status_code


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), 400, b"invalid_http"),
        (b"GET / SPDY/3\r\nhost: x\r\n\r\n", 400, b"invalid_http"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, b"invalid_http"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"invalid_http"),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * (1 << 17), 431, b"headers_too_large"),
        (b"GET /" + b"a" * (1 << 17), 431, b"headers_too_large"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400, b"invalid_http"),
        (b"GET /\x1b[2J HTTP/1.1\r\nhost: x\r\n\r\n", 400, b"invalid_http"),
    ],
)
def test_what_is_no_http_is_refused_in_openai_s_shape(
    served: Program, data: bytes, status: int, code: bytes
) -> None:
    """
    TLS to a plain port, heads that are wrong or too long.
    """
    found = raw(served, data)
    assert f"HTTP/1.1 {status} ".encode() == found[:13], found[:200]
    assert code in found
    assert b'{"error":{"message":' in found


def test_random_bytes_are_answered_or_closed(served: Program) -> None:
    """
    Noise, and requests with noise in them: never a 5xx, and the service goes on.
    """
    rng = random.Random(7)
    for number in range(300 if LONG else 60):
        data = bytearray(rng.randbytes(rng.randint(1, 3000)))
        if number % 3:
            good = request(b'{"prompt": "x"}')
            data = bytearray(good)
            for _ in range(rng.randint(1, 12)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            data += b"\r\n\r\n"
        with socket.create_connection(served.address, timeout=20) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                found = connection.recv(65536)
            except ConnectionError:
                continue
        assert not found or found.startswith(b"HTTP/1.1 "), found[:100]
        assert not found[9:12].startswith(b"5"), (bytes(data), found[:300])
    assert served.healthy()
    assert "Traceback" not in served.log()


def test_noise_after_an_answer_has_begun_ends_the_connection_alone(served: Program) -> None:
    """
    Chunks that are no chunks, while a refusal is on its way.
    """
    head = f"POST /generate HTTP/1.1\r\nhost: x\r\nx-api-key: {API_KEY}\r\n"
    chunked = head + "transfer-encoding: chunked\r\n\r\n"
    for noise in (b"zz\r\n", b"ffffffffffffffffffffffff\r\n", b"5\r\nhelloXX", b"-1\r\n\r\n"):
        assert raw(served, chunked.encode() + noise).startswith(b"HTTP/1.1 400")
        stranger = chunked.replace(API_KEY, "nobody").encode()
        with socket.create_connection(served.address, timeout=20) as connection:
            connection.sendall(stranger)
            assert connection.recv(12) == b"HTTP/1.1 401"
            connection.sendall(noise)
            while connection.recv(65536):
                pass
    assert "library_said" not in served.log(), served.log()[-3000:]


def test_pipelined_requests_are_answered_in_their_order(served: Program) -> None:
    """
    Twenty at once, each with its own answer; a bad one in between ends the connection.
    """
    bodies = [b'{"prompt": "number %d"}' % n for n in range(20)]
    data = b"".join(request(body, close=body is bodies[-1]) for body in bodies)
    found = raw(served, data)
    assert 20 == found.count(b"HTTP/1.1 200")
    places = [found.index(b'base says: number %d"' % n) for n in range(20)]
    assert sorted(places) == places
    broken = raw(served, request(bodies[0], close=False) + b"\x00\x01\r\n\r\n")
    assert (1, 1) == (broken.count(b"HTTP/1.1 200"), broken.count(b"HTTP/1.1 400"))


def test_a_second_answer_waits_for_no_acknowledgement(served: Program) -> None:
    """
    Head and body are two writes; on a connection in use the kernel would hold the second back.
    """
    seconds = []
    with served.client() as client:
        for _ in range(20):
            began = time.perf_counter()
            assert 200 == client.get("/v1/models").status_code
            seconds.append(time.perf_counter() - began)
    print(f"\nGET /v1/models: median {1000 * statistics.median(seconds):.1f} ms")
    assert min(seconds[1:]) < 0.02
    assert statistics.median(seconds) < 0.035


def test_a_half_closed_stream_frees_the_engine(served: Program) -> None:
    """
    A client that says it will send no more has gone for us, and its answer is not made.
    """
    seen = served.root / "cancelled"
    seen.unlink(missing_ok=True)
    message = b'{"role": "user", "content": "slow 0.2' + b" word" * 100 + b'"}'
    body = b'{"model": "finetuned", "stream": true, "messages": [' + message + b"]}"
    with socket.create_connection(served.address, timeout=20) as connection:
        connection.sendall(request(body, "/v1/chat/completions"))
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.shutdown(socket.SHUT_WR)
        wait_until(seen.exists, "the engine went on")
    assert 0 == served.status()["running"]


def test_a_websocket_and_other_upgrades_are_refused(served: Program) -> None:
    """
    There is none, with a key or without.
    """
    upgrade = "connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    upgrade += "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    for key, status in (("", b"401"), (f"x-api-key: {API_KEY}\r\n", b"404")):
        head = f"GET /ws HTTP/1.1\r\nhost: x\r\n{upgrade}{key}\r\n"
        assert raw(served, head.encode())[9:12] == status


def test_nothing_is_left_of_them(served: Program) -> None:
    """
    Connections, requests and files of the gateway after all this.
    """
    import psutil

    gateway = psutil.Process(served.process.pid)
    wait_until(lambda: gateway.num_fds() < 40, "connections stay open", 40)
    status = served.status()
    assert (0, 0) == (status["running"], status["waiting"])
