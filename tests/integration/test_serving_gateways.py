"""
Gateways as programs: two that count together, one behind TLS, one that is stopped with a page open.
"""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

from support.counting import redis_server
from support.gateway import wait_until
from support.program import HEADERS, Program, program


def statuses(served: Program, count: int) -> list[int]:
    """
    Return what so many requests with the key of the environment got.
    """
    with httpx.Client(base_url=served.url, headers=HEADERS, timeout=30) as client:
        return [client.post("/generate", json={"prompt": "x"}).status_code for _ in range(count)]


def test_two_gateways_share_a_limit_and_outlive_their_redis(tmp_path: Path) -> None:
    """
    Five a minute for both together; without Redis each counts for itself, and says so.
    """
    environment = {"RATE_LIMIT_PER_MINUTE": "5"}
    with redis_server(tmp_path) as uri:
        config = f'limits_store = "{uri}"'
        with (
            program(tmp_path / "a", config=config, environment=environment) as first,
            program(tmp_path / "b", config=config, environment=environment) as second,
        ):
            if time.time() % 60 > 50:  # a minute of the clock must not end in between
                time.sleep(60.5 - time.time() % 60)
            shared = statuses(first, 3) + statuses(second, 4)
            subprocess.run(
                ["redis-cli", "-s", tmp_path / "redis.sock", "shutdown", "nosave"], check=True
            )
            began = time.monotonic()
            alone = statuses(second, 7)
            assert time.monotonic() - began < 10
            assert "Redis does not count" in second.status()["problems"]["limits"]
            assert 1 == second.log().count("limits_not_shared")
    assert [200] * 5 + [429] * 2 == shared
    assert [200] * 5 + [429] * 2 == alone


def made(folder: Path, name: str) -> None:
    """Make a certificate for this machine, and put both files in their places."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    new = folder / "new"
    new.mkdir(exist_ok=True)
    files = ["-keyout", new / "key.pem", "-out", new / "cert.pem"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    for file in ("key.pem", "cert.pem"):
        (new / file).rename(folder / file)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_certificate_is_replaced_while_answers_are_given(tmp_path: Path) -> None:
    """
    A connection in use goes on, new ones see the new certificate, and plain HTTP is told so.
    """
    root = tmp_path / "root"
    root.mkdir()
    made(root, "one")
    config = f'tls_cert = "{root}/cert.pem"\ntls_key = "{root}/key.pem"'
    with program(root, config=config, scheme="https") as served, served.client() as old:
        assert 200 == old.post("/generate", json={"prompt": "x"}).status_code
        first = ssl.get_server_certificate(served.address)
        made(root, "two")
        wait_until(
            lambda: ssl.get_server_certificate(served.address) != first, "the old one is shown", 20
        )
        found = old.post("/generate", json={"prompt": "x"})
        assert 200 == found.status_code
        assert "max-age" in found.headers["strict-transport-security"]
        with served.client() as new:
            assert 200 == new.get("/v1/models").status_code
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{served.port}/health/live")
        assert "certificate_renewed" in served.log()


def test_an_open_page_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """
    Its stream has no end of its own.
    """
    with program(tmp_path / "root") as served:
        listening = threading.Event()

        def listen() -> None:
            try:
                with httpx.stream("GET", f"{served.url}/live/events", headers=served.admin) as page:
                    for _ in page.iter_raw():
                        listening.set()
            except httpx.TransportError:
                pass

        browser = threading.Thread(target=listen)
        browser.start()
        assert listening.wait(20)
        began = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        assert 0 == served.process.wait(30)
        assert time.monotonic() - began < 15
        browser.join(10)
