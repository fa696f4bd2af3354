"""
Clients of an OpenAI-compatible server: one after the other, or many at once.

Each keeps one connection and uses Python's own HTTP client, which costs about 0.2 ms a request.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Final

from experiments.serving_servers import Server

MAX_TOKENS: Final = 256
TIMEOUT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Answered:
    """
    What came of one request.
    """

    text: str
    seconds: float
    first_seconds: float
    """To the first text; the same as *seconds* without a stream."""


class Client:
    """
    One connection.
    """

    def __init__(self, server: Server) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_SECONDS)
        self._model = server.model
        self._headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {server.key}",
        }

    def ask(self, content: str, *, stream: bool = False) -> Answered:
        """
        Return the greedy answer to one message.
        """
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "stream": stream,
        }
        began = time.perf_counter()
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), self._headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise SystemExit(f"status {response.status}: {response.read(500)!r}")
        if not stream:
            text = json.loads(response.read())["choices"][0]["message"]["content"]
            seconds = time.perf_counter() - began
            return Answered(text, seconds, seconds)
        text, first = _streamed(response, began)
        return Answered(text, time.perf_counter() - began, first)

    def close(self) -> None:
        self._connection.close()


def _streamed(response: HTTPResponse, began: float) -> tuple[str, float]:
    """Return the text of a stream, and the seconds to its first piece."""
    text, first = "", 0.0
    while line := response.readline():
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            piece = choice["delta"].get("content")
            if piece and not text:
                first = time.perf_counter() - began
            text += piece or ""
    return text, first


def one_by_one(server: Server, contents: Sequence[str], *, stream: bool) -> list[Answered]:
    """
    Ask one client's questions, each after the answer before.
    """
    client = Client(server)
    try:
        return [client.ask(content, stream=stream) for content in contents]
    finally:
        client.close()


def many_at_once(
    server: Server,
    contents: Sequence[str],
    clients: int,
    done: Callable[[int], object] = lambda count: None,
) -> float:
    """
    Share questions among clients that ask at once, and return the seconds until all are answered.

    Args:
        done: Told after each answer how many there are; called by one thread at a time.
    """
    numbers, counted = itertools.count(), itertools.count(1)
    lock, failures = threading.Lock(), []

    def work() -> None:
        client = Client(server)
        try:
            while (number := next(numbers)) < len(contents):
                client.ask(contents[number])
                with lock:
                    done(next(counted))
        except BaseException as error:
            failures.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"a request failed: {failures[0]}")
    return time.perf_counter() - began
