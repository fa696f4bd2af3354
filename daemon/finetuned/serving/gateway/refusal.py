"""
A request that is refused before a route sees it: status, message and headers, in OpenAI's shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from starlette.types import Send


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


async def send_refusal(send: Send, refused: Refused, *, close: bool = False) -> None:
    """
    Answer an HTTP request with *refused*.

    Args:
        send: Of the ASGI request, to which nothing was sent yet.
        refused: The answer.
        close: Whether the connection ends, because its body was not read to the end.
    """
    body = refused.body()
    pairs = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *refused.headers,
    ]
    if close:
        pairs.append(("connection", "close"))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
