"""
A GGUF file asked through llama.cpp's own server, in a process of its own.
"""

from __future__ import annotations

import http.client
import os
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from finetuned.data.examples import Example
from finetuned.errors import ExportRefused
from finetuned.export.tools import ENGINE, require
from finetuned.process.environment import child_environment

_START_SECONDS: Final = 300.0
_ANSWER_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """
    A running server of llama.cpp.
    """

    host: str
    port: int
    key: str

    def render(self, example: Example) -> str:
        """
        Return the prompt of an example's last turn, as the template in the file renders it.
        """
        body: dict[str, Any] = {"messages": example.messages[:-1]}
        if example.tools:
            body["tools"] = example.tools
        return str(self._post("/apply-template", body)["prompt"])

    def ids(self, text: str) -> list[int]:
        """
        Return the token ids of a prompt.
        """
        body = {"content": text, "add_special": True, "parse_special": True}
        found: list[int] = self._post("/tokenize", body)["tokens"]
        return found

    def answer(self, text: str, max_tokens: int) -> tuple[list[int], str]:
        """
        Return the greedy answer to a prompt: its token ids, and its text.
        """
        body = {"prompt": text, "n_predict": max_tokens, "temperature": 0.0, "seed": 0}
        body |= {"return_tokens": True, "cache_prompt": False, "top_k": 1}
        found = self._post("/completion", body)
        return found["tokens"], found["content"]

    def ready(self) -> bool:
        """
        Return whether the model is loaded.
        """
        try:
            self._ask("GET", "/health", None, 5.0)
        except (ExportRefused, OSError, http.client.HTTPException):
            return False
        return True

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._ask("POST", path, orjson.dumps(body), _ANSWER_SECONDS)

    def _ask(self, method: str, path: str, body: bytes | None, seconds: float) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=seconds)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != 200:
            said = data.decode("utf-8", "replace")[:400]
            raise ExportRefused(f"llama.cpp answers {path} with status {response.status}: {said}")
        found: dict[str, Any] = orjson.loads(data)
        return found


@contextmanager
def running(file: Path, *, context: int) -> Iterator[LlamaCpp]:
    """
    Serve *file* with llama.cpp while the block runs.

    Args:
        file: A GGUF file.
        context: Longest prompt and answer together, in tokens.

    Raises:
        ExportRefused: llama.cpp is not installed, or cannot load the file.
    """
    require(ENGINE)
    key = secrets.token_hex(16)
    command = [sys.executable, "-m", "finetuned.export.llama_server", str(file), str(context), key]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + _START_SECONDS
            address = urlsplit(_first_line(process, deadline))
            if address.hostname is None or address.port is None:
                raise ExportRefused(f"llama.cpp cannot load {file.name}: {_said(log.fileno())}")
            server = LlamaCpp(address.hostname, address.port, key)
            while not server.ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise ExportRefused(f"llama.cpp cannot load {file.name}: {_said(log.fileno())}")
                time.sleep(0.05)
            yield server
        finally:
            process.kill()
            process.communicate()


def _first_line(process: subprocess.Popen[bytes], deadline: float) -> str:
    """Return what the server says first; empty if it ended, or said nothing before the deadline."""
    if process.stdout is None:
        return ""
    left = max(0.0, deadline - time.monotonic())
    readable, _, _ = select.select([process.stdout], [], [], left)
    return process.stdout.readline().decode().strip() if readable else ""


def _said(fd: int) -> str:
    size = os.fstat(fd).st_size
    lines: Sequence[str] = (
        os.pread(fd, 4000, max(0, size - 4000)).decode("utf-8", "replace").split("\n")
    )
    return " | ".join(line.strip() for line in lines if line.strip())[-600:] or "it said nothing"
