"""
A gateway with a server of vLLM's interface behind it, and what tests ask of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from finetuned.config import Config, ModelConfig, ServingConfig
from finetuned.files.shipped import shipped
from finetuned.layout import Layout
from finetuned.registry.current_model import promote
from finetuned.serving.gateway.engines.openai_server import server_engine
from support.gateway import Gateway, free_port, running_gateway
from support.versions import commit
from support.vllm_server import VllmServer

MICRO = shipped().bases / "micro"


@dataclass
class Pair:
    """
    A gateway, and the server behind it.
    """

    gateway: Gateway
    server: VllmServer
    layout: Layout

    def ask(self, prompt: str, model: str = "finetuned", **more: object) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        return httpx.post(f"{self.gateway.url}/v1/chat/completions", json=body, timeout=30)

    def get(self, path: str) -> dict[str, object]:
        found: dict[str, object] = httpx.get(f"{self.gateway.url}{path}", timeout=30).json()
        return found


def prepare(root: Path, versions: int = 3) -> Layout:
    layout = Layout(root)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for _ in range(versions):
        commit(layout)
    promote(layout, "v0001")
    return layout


@contextmanager
def paired(
    layout: Layout,
    server: VllmServer,
    *,
    key: str | None = None,
    ready: bool = True,
    **knobs: float,
) -> Iterator[Pair]:
    serving = ServingConfig(port=free_port(), chat_port=0, engine=server.url, **knobs)  # type: ignore[arg-type]
    config = Config(serving=serving, model=ModelConfig(base="micro"))
    engine = server_engine(config, key)
    with running_gateway(layout.root, serving, engine=engine, ready=ready) as gateway:
        yield Pair(gateway, server, layout)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
