"""
A request that is refused before a route sees it: status, message and headers, in OpenAI's shape.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.types import Receive, Send


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """
    Why a request is not let in. The message says what was found, what was expected, what to do.
    """

    status: int
    message: str
    code: str
    """A word for programs, such as ``invalid_api_key``."""
    kind: str = "invalid_request_error"
    """OpenAI's ``type``."""
    headers: tuple[tuple[str, str], ...] = ()

    def body(self) -> bytes:
        """
        Return the JSON object that the client gets.
        """
        error = {"message": self.message, "type": self.kind, "param": None, "code": self.code}
        return orjson.dumps({"error": error})


DRAIN_SECONDS: Final = 1.0
DRAIN_BYTES: Final = 4 << 20
"""How much of a refused request's body is read and thrown away."""


async def send_refusal(send: Send, refused: Refused, *, receive: Receive | None = None) -> None:
    """
    Answer an HTTP request with *refused*.

    Args:
        send: Of the ASGI request, to which nothing was sent yet.
        refused: The answer.
        receive: Of a request whose body was not read to the end. The connection ends, but not
            before the client had a moment to send the rest: if it ended while bytes were on
            their way, the kernel would reset it, and the client might never see the answer.
    """
    body = refused.body()
    pairs = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *refused.headers,
    ]
    if receive is not None:
        pairs.append(("connection", "close"))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    if receive is None:
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    n_bytes = 0
    while n_bytes < DRAIN_BYTES:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):  # also once the client is gone
            return
