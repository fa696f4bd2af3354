"""
Paraphrases by a served model: asked over real HTTP, and believed only as far as can be checked.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from finetuned.errors import NoAnswer
from finetuned.sources.augment import served as served_module
from finetuned.sources.augment.exchange import Exchange
from finetuned.sources.augment.served import Endpoint, complaint, paraphrase, served

PARENT = Exchange(
    "please point api.lan at 10.0.0.5", '{"action":"dns_add","zone":"api.lan","ip":"10.0.0.5"}'
)


@contextmanager
def service(answers: list[tuple[int, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve *answers*, status and body, one after another; yield the address and what came."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            key = self.headers["authorization"]
            asked.append({"path": self.path, "key": key, **json.loads(body)})
            status, answer = answers[min(len(asked), len(answers)) - 1]
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def said(text: str) -> dict[str, Any]:
    """Return a chat completion."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def test_a_model_is_asked_as_openai_clients_ask() -> None:
    """
    The key goes into its header, and the instruction says what must stay.
    """
    with service([(200, said("let api.lan resolve to 10.0.0.5"))]) as (url, asked):
        transform = served(Endpoint(url, "m", "k3y"))
        child = transform.draw(PARENT, random.Random(0))
    assert child is not None
    assert "let api.lan resolve to 10.0.0.5" == child.prompt
    assert transform.complaint(PARENT, child) is None
    (request,) = asked
    assert ("/v1/chat/completions", "Bearer k3y", "m") == (
        request["path"],
        request["key"],
        request["model"],
    )
    assert PARENT.prompt == request["messages"][-1]["content"]
    assert "k3y" not in repr(Endpoint(url, "m", "k3y"))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("let it resolve to 10.0.0.5", "value_lost"),
        ("let api.lan resolve to 10.0.0.6", "value_lost"),
        ("let api.lan resolve to 10.0.0.5 within 3 hours", "number_changed"),
        ("please point API.lan at 10.0.0.5", "value_lost"),
        ("Please, point api.lan at 10.0.0.5!", "same_words"),
        ("api.lan 10.0.0.5 " + "really " * 40, "another_length"),
    ],
)
def test_a_paraphrase_that_lost_a_value_is_not_used(prompt: str, expected: str) -> None:
    """
    Nor one that says the same words, or much more than the request.
    """
    child = Exchange(prompt, PARENT.answer)
    assert expected == complaint(PARENT, child)


def test_a_model_that_answers_the_request_is_not_believed() -> None:
    """
    Small models answer instead of rewriting.
    """
    parent = Exchange("which town is the seat of the government", "Paris indeed")
    child = Exchange("that is Paris indeed the seat of the government", parent.answer)
    assert "answers" == complaint(parent, child)


@pytest.mark.parametrize(
    ("answers", "says", "n_asked"),
    [
        ([(401, {"error": "no"})], "401", 1),
        ([(200, {"choices": []})], "not a chat completion", 1),
        ([(200, b"<html>")], "not a chat completion", 1),
        ([(503, {})], "503", 3),
    ],
)
def test_a_service_that_refuses_is_one_clear_error(
    answers: list[tuple[int, Any]], says: str, n_asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What may pass is tried again, what will not is not.
    """
    monkeypatch.setattr(served_module, "_WAIT_SECONDS", 0.0)
    with service(answers) as (url, asked), pytest.raises(NoAnswer, match=says):
        paraphrase(Endpoint(url, "m"), "hello", 0)
    assert n_asked == len(asked)


def test_a_busy_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    429 and then an answer is an answer.
    """
    monkeypatch.setattr(served_module, "_WAIT_SECONDS", 0.0)
    with service([(429, {}), (200, said("hi"))]) as (url, _):
        assert "hi" == paraphrase(Endpoint(url, "m"), "hello", 0)


def test_nobody_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With the address that was asked.
    """
    monkeypatch.setattr(served_module, "_WAIT_SECONDS", 0.0)
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:9/v1/chat/completions"):
        paraphrase(Endpoint("http://127.0.0.1:9/v1", "m"), "hello", 0)
    for url in ("file:///etc/passwd", "localhost:8000"):
        with pytest.raises(ValueError, match="no address"):
            Endpoint(url, "m")
