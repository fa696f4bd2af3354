"""
A server of vLLM's interface without a model: HTTP on loopback, adapters by the route that vLLM has.

Status codes, error bodies and field names are those of vLLM's entrypoints (openai/models/serving.py
and serve/lora). It answers ``FOLDER says: PROMPT``, where FOLDER is what the adapter was loaded
from. The prompt can ask for trouble: see ``_trouble``.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from support.gateway import wait_until

LOST = "The model `{}` does not exist."


class VllmServer:
    """
    What it was told, and what it does.
    """

    def __init__(
        self, base: Path, *, key: str = "", lora: bool = True, owner: str = "vllm"
    ) -> None:
        self.root = str(base)
        """As its list says it: a folder, a name at a hub, or nothing."""
        self.key = key
        self.owner = owner
        self.adapters: dict[str, str] = {}
        self.loads: list[dict[str, object]] = []
        self.bodies: list[dict[str, object]] = []
        self.left: list[str] = []
        """Prompts whose client went before the end."""
        self.refuse_adapters = ""
        self.url = ""
        routes = [
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._text, methods=["POST"]),
        ]
        if lora:
            routes += [
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
            ]
        self.app = Starlette(routes=routes)

    async def _models(self, request: Request) -> Response:
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        cards = [{"id": "the-base", "root": self.root, "parent": None}]
        cards += [{"id": k, "root": v, "parent": "the-base"} for k, v in self.adapters.items()]
        same = {"object": "model", "created": 1, "owned_by": self.owner}
        return JSONResponse({"object": "list", "data": [{**card, **same} for card in cards]})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            message = "Both 'lora_name' and 'lora_path' must be provided."
            return _error(400, message, "InvalidUserInput")
        self.loads.append(body)
        if name in self.adapters and not body.get("load_inplace"):
            return _error(400, f"The lora adapter '{name}' has already been loaded.", "BadRequest")
        if self.refuse_adapters:
            return _error(500, self.refuse_adapters, "InternalServerError")
        self.adapters[name] = path
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        return await self._answer(body, str(body["messages"][-1]["content"]), chat=True)

    async def _text(self, request: Request) -> Response:
        body = await request.json()
        return await self._answer(body, body["prompt"], chat=False)

    async def _answer(self, body: dict[str, object], prompt: str, *, chat: bool) -> Response:
        self.bodies.append(body)
        model = str(body["model"])
        if model != "the-base" and model not in self.adapters:
            return _error(404, LOST.format(model), "NotFoundError", "model")
        match prompt.split():
            case ["fail", status, *message]:
                return _error(int(status), " ".join(message) or "no", "BadRequestError", "messages")
        folder = Path(self.adapters.get(model, "base")).name
        pieces = _pieces(folder, prompt, body)
        return StreamingResponse(
            self._stream(pieces, prompt, chat=chat), media_type="text/event-stream"
        )

    async def _stream(
        self, pieces: list[dict[str, object]], prompt: str, *, chat: bool
    ) -> AsyncIterator[bytes]:
        try:
            if chat:
                yield _event({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
            for at, piece in enumerate(pieces):
                match prompt.split():
                    case ["slow", seconds, *_]:
                        await asyncio.sleep(float(seconds))
                    case ["error", *_] if at == 1:
                        yield _event({"error": {"message": "out of memory", "code": 500}})
                        return
                    case ["break", *_] if at == 1:
                        raise ConnectionResetError
                    case ["cut", *_] if at == 1:
                        return
                yield _event({"choices": [{"index": 0, **(piece if chat else _as_text(piece))}]})
            counts = {"prompt_tokens": 7, "completion_tokens": len(pieces)}
            details = {"prompt_tokens_details": {"cached_tokens": 3}}
            yield _event({"choices": [], "usage": {**counts, **details}})
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left.append(prompt)
            raise


def _pieces(folder: str, prompt: str, body: dict[str, object]) -> list[dict[str, object]]:
    """Return the choices of an answer, without its role."""
    text = {"json": '{"a": 1}', "prose": "no JSON"}.get(prompt, f"{folder} says: {prompt}")
    words = text.split(" ")
    texts = [word if at == 0 else f" {word}" for at, word in enumerate(words)]
    pieces: list[dict[str, object]] = []
    if prompt == "think":
        pieces += [{"delta": {"reasoning_content": "hm"}}, {"delta": {"reasoning": "m"}}]
    for each in texts:
        top = [{"token": each, "logprob": -0.1}, {"token": "?", "logprob": -3.0}]
        token = {"token": each, "logprob": -0.1, "top_logprobs": top}
        logprobs = {"content": [token]} if body.get("logprobs") else None
        pieces.append({"delta": {"content": each}, "logprobs": logprobs})
    reason = "stop"
    if body.get("tools"):
        call = {"index": 0, "id": "x", "function": {"name": "look", "arguments": '{"at":'}}
        rest = {"index": 0, "function": {"arguments": "1}"}}
        pieces = [{"delta": {"tool_calls": [part]}} for part in (call, rest)]
        reason = "tool_calls"
    return [*pieces, {"delta": {"content": ""}, "finish_reason": reason}]


def _as_text(piece: dict[str, object]) -> dict[str, object]:
    delta = piece.pop("delta")
    assert isinstance(delta, dict)
    text = delta["content"]
    logprobs = {"tokens": [text], "token_logprobs": [-0.1], "top_logprobs": [{text: -0.1}]}
    return {**piece, "text": text, "logprobs": logprobs if text else None}


def _event(body: dict[str, object]) -> bytes:
    """orjson writes characters as they are, as vLLM does."""
    return b"data: " + orjson.dumps({"id": "x", **body}) + b"\n\n"


def _error(status: int, message: str, kind: str, param: str | None = None) -> Response:
    error = {"message": message, "type": kind, "param": param, "code": status}
    return JSONResponse({"error": error}, status)


@contextmanager
def listening(server: VllmServer, port: int = 0) -> Iterator[VllmServer]:
    """
    Serve until the end of the block; connections are then closed at once.
    """
    opened = socket.create_server(("127.0.0.1", port))
    server.url = f"http://127.0.0.1:{opened.getsockname()[1]}/v1"
    config = uvicorn.Config(
        server.app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(running.serve([opened])), name="vllm", daemon=True
    )
    thread.start()
    try:
        wait_until(lambda: running.started, "the server does not listen")
        yield server
    finally:
        running.should_exit = running.force_exit = True
        thread.join(30)
        assert not thread.is_alive()
