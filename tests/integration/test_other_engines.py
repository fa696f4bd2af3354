"""
Real servers as the engine: llama.cpp with the embedded base exported, and a service of ours.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from finetuned.config import Config, ModelConfig, ServingConfig
from finetuned.files.shipped import shipped
from finetuned.layout import Layout
from finetuned.serving.gateway.build import build
from finetuned.serving.gateway.engines.openai_server import server_engine
from finetuned.serving.gateway.serve import listen
from support.gateway import Gateway, free_port, running_gateway, wait_until
from support.llama_server import export_gguf, running_llama_cpp

QUESTION = "create the user jdoe with home /home/jdoe"
ANSWER = "jdoe now has an account."
"""Of the embedded base by transformers, greedily; docs/how-to/ask-the-model.md shows it too."""
WORD = "useradd"
WORD_ANSWER = "Which login?"
"""
The same of one word: between words llama.cpp cuts a prompt in other tokens than the base's
own tokenizer, in which a space is a token.
"""
SCHEMA = {
    "type": "object",
    "properties": {"action": {"enum": ["create", "delete"]}},
    "required": ["action"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@contextmanager
def in_front_of(url: str, root: Path, key: str | None = None) -> Iterator[Gateway]:
    serving = ServingConfig(port=free_port(), chat_port=0, engine=url)
    config = Config(serving=serving, model=ModelConfig(base="micro"))
    with running_gateway(root, serving, engine=server_engine(config, key)) as gateway:
        yield gateway


def ask(gateway: Gateway, content: str = QUESTION, **more: object) -> httpx.Response:
    messages = [{"role": "user", "content": content}]
    body = {"model": "finetuned", "messages": messages, "temperature": 0, "max_tokens": 60}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json={**body, **more}, timeout=60)


def content_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The embedded base as GGUF.
    """
    for library in ("xllamacpp", "gguf"):
        pytest.importorskip(library, reason=f"{library} is not installed: pip install {library}")
    file: Path = tmp_path_factory.mktemp("gguf") / "micro.gguf"
    export_gguf(shipped().bases / "micro", file)
    return file


def test_llama_cpp_answers_as_the_model_does_and_is_said_to_take_no_adapters(
    model: Path, tmp_path: Path
) -> None:
    """
    The same greedy answer as transformers gives, with its probabilities, a schema and an error.
    """
    with (
        running_llama_cpp(model, tmp_path / "llama.log") as url,
        in_front_of(url, tmp_path / "root") as gateway,
    ):
        response = ask(gateway, WORD, logprobs=True, top_logprobs=2)
        assert WORD_ANSWER == content_of(response)
        found = response.json()
        tokens = found["choices"][0]["logprobs"]["content"]
        assert WORD_ANSWER == "".join(token["token"] for token in tokens)
        assert {2} == {len(token["top_logprobs"]) for token in tokens}
        assert found["usage"]["completion_tokens"] >= len(tokens)
        assert found["model"] == "finetuned@as-started"
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
        held = content_of(ask(gateway, response_format=wanted)).replace(" ", "")
        assert held in ('{"action":"create"}', '{"action":"delete"}')
        assert ask(gateway, tools=[TOOL]).status_code == 200
        long = ask(gateway, "x " * 5000)
        assert (400, "context_length_exceeded") == (
            long.status_code,
            long.json()["error"]["code"],
        )
        health = httpx.get(f"{gateway.url}/health", timeout=30)
        assert health.status_code == 200
        assert "whatever model it was started with (micro)" in health.json()["engine_note"]


def test_a_llama_cpp_that_is_called_by_a_version_keeps_the_label(
    model: Path, tmp_path: Path
) -> None:
    """
    ``llama-server --alias finetuned@base``: whoever starts it says which version it is.
    """
    with (
        running_llama_cpp(model, tmp_path / "llama.log", "finetuned@base") as url,
        in_front_of(url, tmp_path / "root") as gateway,
    ):
        response = ask(gateway, WORD)
        assert WORD_ANSWER == content_of(response)
        assert response.json()["model"] == "finetuned@base"
        assert httpx.get(f"{gateway.url}/health", timeout=30).json()["engine_note"] == ""


@contextmanager
def real_service(root: Path) -> Iterator[tuple[str, str]]:
    """
    A service with our own engine; yields its address and a key.
    """
    serving = ServingConfig(port=free_port(), chat_port=0, max_running=2, kv_bytes=1 << 26)
    key = "a-key-of-the-service-behind"
    sockets = listen(serving)
    config = Config(serving=serving, model=ModelConfig(base="micro", device="cpu"))
    built = build(Layout(root), config, sockets, {"API_KEY": key})
    server = uvicorn.Server(uvicorn.Config(built.app, log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets)), daemon=True)
    thread.start()
    try:
        wait_until(lambda: built.service.ready, "its engine holds no model", 120)
        yield f"http://127.0.0.1:{serving.port}/v1", key
    finally:
        server.should_exit = True
        thread.join(60)
        built.feedback.close()


@pytest.mark.slow
def test_a_service_of_ours_behind_a_service_of_ours(tmp_path: Path) -> None:
    """
    Both real, the engine too; answers, labels, schemas and calls go through unchanged.
    """
    with (
        real_service(tmp_path / "behind") as (url, key),
        in_front_of(url, tmp_path / "front", key) as gateway,
    ):
        response = ask(gateway, logprobs=True)
        assert ANSWER == content_of(response)
        assert response.json()["model"] == "finetuned@base"
        assert len(response.json()["choices"][0]["logprobs"]["content"]) > 4
        wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
        held = content_of(ask(gateway, response_format=wanted)).replace(" ", "")
        assert held in ('{"action":"create"}', '{"action":"delete"}')
        assert ask(gateway, tools=[TOOL]).status_code == 200
        text = {"model": "finetuned", "prompt": "create", "logprobs": 2, "temperature": 0}
        completed = httpx.post(f"{gateway.url}/v1/completions", json=text, timeout=60)
        assert completed.json()["choices"][0]["logprobs"]["tokens"]
