"""
Server-sent events: an answer while it is generated.

The response begins with the first token, so that whatever fails before it has a status of
its own. Later an error is an event, and the stream ends without ``[DONE]``. A comment is sent
where nothing else was for a while. A client that goes away, or does not read, ends the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from finetuned.serving.gateway.errors import Refusal

PING: Final = b": ping\n\n"
DONE: Final = b"data: [DONE]\n\n"
PING_SECONDS = 15.0
SEND_SECONDS = 30.0
"""How long a client may leave what it was sent unread."""

HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would keep pieces back
}


def event(value: object) -> bytes:
    """
    Return one event with *value* as JSON.
    """
    return b"data: " + orjson.dumps(value) + b"\n\n"


def error_event(refusal: Refusal) -> bytes:
    """
    Return the event of a failure after the first token.
    """
    return event(refusal.as_dict())


async def with_pings(
    chunks: AsyncIterator[bytes], *, seconds: float = PING_SECONDS
) -> AsyncIterator[bytes]:
    """
    Return *chunks* with a comment after each pause of so many seconds.
    """
    upcoming: asyncio.Future[bytes] | None = None
    try:
        while True:
            if upcoming is None:
                upcoming = asyncio.ensure_future(_next(chunks))
            done, _ = await asyncio.wait({upcoming}, timeout=seconds)
            if not done:
                yield PING
                continue
            try:
                chunk = upcoming.result()
            except _End:
                return
            upcoming = None
            yield chunk
    finally:
        if upcoming is not None:
            upcoming.cancel()


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(chunks)
    except StopAsyncIteration:
        raise _End from None


class _End(Exception):
    """StopAsyncIteration cannot be the result of a task."""


class Stream(StreamingResponse):
    """
    A stream of bytes that is cut off if the client does not read it.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        media_type: str = "text/event-stream",
        headers: Mapping[str, str] | None = None,
        closed: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            chunks: What is sent; closed in every case.
            media_type: Of the response.
            headers: Added to those of streams.
            closed: Called at the end, however it came.
        """
        super().__init__(chunks, headers={**HEADERS, **(headers or {})}, media_type=media_type)
        self._closed = closed

    async def stream_response(self, send: Send) -> None:
        """Send all of it, each part within SEND_SECONDS."""
        try:
            await super().stream_response(_patient(send))
        except TimeoutError:
            pass  # no end of the body is sent: the client sees that it is cut
        finally:
            self._closed()


def _patient(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def limited(message: Message) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await send(message)

    return limited
