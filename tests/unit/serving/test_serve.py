"""
The program that listens: signals, sockets, memory and what it leaves behind.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from finetuned.config import ServingConfig
from finetuned.errors import EXIT_TEMPFAIL, Unavailable
from finetuned.layout import Layout
from finetuned.serving.gateway.serve import listen
from support.gateway import free_port, wait_until

TESTS = Path(__file__).parents[2]
MOST_MEGABYTES = 120
KEY = "k" * 20
HEADERS = {"X-API-Key": KEY}


@contextmanager
def serving(root: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(TESTS.parent / "daemon"), str(TESTS)])
    script = TESTS / "support" / "serve_fake.py"
    with subprocess.Popen(
        [sys.executable, str(script), "--root", str(root), "--port", str(port)],
        env={**os.environ, "PYTHONPATH": path, "API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", headers=HEADERS, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_sigterm_lets_a_running_request_end(tmp_path: Path) -> None:
    """
    The answer is whole, the process ends with 0, and neither engine nor state is left. A live
    page that somebody watches does not hold it up.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with serving(tmp_path, port) as process:
        wait_until(lambda: healthy(url), "it does not answer", 60)
        found: list[httpx.Response] = []

        def ask() -> None:
            body = {"prompt": "slow 0.5 a b c"}
            found.append(httpx.post(f"{url}/generate", json=body, headers=HEADERS, timeout=30))

        client = threading.Thread(target=ask)
        client.start()
        gateway = psutil.Process(process.pid)
        wait_until(
            lambda: httpx.get(f"{url}/status", headers=HEADERS).json()["running"], "nothing runs"
        )
        (engine,) = gateway.children()
        megabytes = gateway.memory_info().rss / 2**20
        key = json.loads(Layout(tmp_path).serving_state.read_bytes())["key"]
        watcher = {"authorization": f"Bearer {key}"}
        with httpx.stream("GET", f"{url}/live/events", headers=watcher, timeout=30) as page:
            assert 200 == page.status_code
            process.send_signal(signal.SIGTERM)
            client.join(30)
            assert 0 == process.wait(20)
    assert "base says: slow 0.5 a b c" == found[0].json()["text"]
    assert not engine.is_running()
    assert not Layout(tmp_path).serving_state.exists()
    assert megabytes < MOST_MEGABYTES


def test_a_second_service_of_a_root_is_refused(tmp_path: Path) -> None:
    """
    The root has one service; the other ends with 75 and says who has it.
    """
    port = free_port()
    with serving(tmp_path, port):
        wait_until(lambda: healthy(f"http://127.0.0.1:{port}"), "it does not answer", 60)
        with serving(tmp_path, free_port()) as second:
            output, _ = second.communicate(timeout=60)
        assert EXIT_TEMPFAIL == second.returncode
        assert b"is served already at http://127.0.0.1:" in output


def test_a_port_that_is_taken_is_named_with_a_way_out() -> None:
    """
    The message names the address, how to see who has it, and the setting.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"127.0.0.1:{port} cannot be used") as refused:
            listen(ServingConfig(port=port, chat_port=0))
    assert "set another port" in str(refused.value)


def test_no_part_of_a_response_waits_for_the_client() -> None:
    """
    Nagle's algorithm would add 40 ms to the first token of a stream.
    """
    (listening,) = listen(ServingConfig(port=free_port(), chat_port=0))
    with listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
