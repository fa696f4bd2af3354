"""
``finetuned serve`` as a process of its own, with the real engine or with the fake one.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from finetuned.layout import Layout
from support.gateway import free_port, wait_until

TESTS = Path(__file__).parents[1]
API_KEY = "k" * 20
"""Of the environment: the scopes ask, feedback and metrics, without limits unless set."""
HEADERS = {"X-API-Key": API_KEY}


@dataclass(frozen=True)
class Program:
    """
    A running one.
    """

    root: Path
    port: int
    process: subprocess.Popen[bytes]
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def state(self) -> dict[str, Any]:
        """state.json: process ids, local key, held versions."""
        found: dict[str, Any] = orjson.loads(self.layout.serving_state.read_bytes())
        return found

    @property
    def admin(self) -> dict[str, str]:
        """Headers with the key of this machine, which opens everything."""
        return {"X-API-Key": self.state["key"]}

    def client(self, *, timeout: float = 60.0) -> httpx.Client:
        """
        Return a client with that key, that trusts cert.pem of the root; the caller closes it.
        """
        certificate = self.root / "cert.pem"
        known = ssl.create_default_context(cafile=certificate) if certificate.exists() else True
        return httpx.Client(
            base_url=self.url, headers=self.admin, timeout=timeout, verify=known, trust_env=False
        )

    def status(self) -> dict[str, Any]:
        """
        Return GET /status.
        """
        with self.client() as client:
            found: dict[str, Any] = client.get("/status").json()
        return found

    def megabytes(self) -> float:
        """
        Return the resident memory of the gateway, in MiB.
        """
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def log(self) -> str:
        """
        Return its log.
        """
        return (self.layout.logs / "serving.log").read_text()

    def healthy(self) -> bool:
        """
        Return whether it answers requests.
        """
        try:
            with self.client() as client:
                return client.get("/health").status_code == 200
        except (OSError, httpx.TransportError, KeyError):
            return False


@contextmanager
def program(
    root: Path,
    *,
    own_engine: bool = False,
    config: str = "",
    environment: dict[str, str] | None = None,
    scheme: str = "http",
) -> Iterator[Program]:
    """
    Serve *root* on a free port until the end of the block.

    Args:
        root: A folder; its config.toml is written.
        own_engine: Whether the real engine answers; otherwise the fake one.
        config: Lines of [serving].
        environment: Added to this process's.
        scheme: "https" if *config* has a certificate.
    """
    root.mkdir(exist_ok=True)
    (root / "config.toml").write_text(f"[serving]\nchat_port = 0\n{config}\n")
    port = free_port()
    command = ["-m", "finetuned", "serve"] if own_engine else [TESTS / "support" / "serve_fake.py"]
    output = root / "serve.out"
    with (
        output.open("wb") as to,
        subprocess.Popen(
            [sys.executable, *command, "--root", root, "--port", str(port)],
            env={
                **{k: v for k, v in os.environ.items() if k != "LISTEN_PID"},
                "PYTHONPATH": os.pathsep.join([str(TESTS.parent / "daemon"), str(TESTS)]),
                "API_KEY": API_KEY,
                "RATE_LIMIT_PER_MINUTE": "1000000000",
                **(environment or {}),
            },
            stdout=to,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        found = Program(root, port, process, scheme)
        try:
            wait_until(
                lambda: process.poll() is not None or found.healthy(), "it does not answer", 120
            )
            assert process.poll() is None, output.read_text()[-3000:]
            yield found
        finally:
            children = psutil.Process(process.pid).children() if process.poll() is None else []
            process.kill()
            for child in children:  # an engine leaves with its socket; this is for a stuck one
                try:
                    child.wait(15)
                except psutil.TimeoutExpired:
                    child.kill()
