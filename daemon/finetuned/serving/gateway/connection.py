"""
One connection of a client, and for how long it may keep its place without being of use.

uvicorn waits for ever for a first request, for the rest of any head, and for a client to read
what it was sent. Here each of them has a time; if there are too many connections, those that
have been idle longest are closed, so that a new client finds a place. Bytes that are no HTTP get
an answer in OpenAI's shape, too.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from operator import attrgetter
from typing import Final, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from finetuned.serving.gateway.refusal import Refused, send_refusal

HEAD_SECONDS = 10.0
"""From the connection, or the first byte of a later request, to the end of the head."""
UNREAD_SECONDS = 30.0
"""How long a client may leave unread what it was sent."""
HEAD_BYTES: Final = 16 << 10
"""Longest head of a request."""
MOST_CONNECTIONS = 4096
BACKLOG: Final = 512
"""Connections that wait to be accepted; asyncio accepts as many before it looks at one of them."""
SPARE_FILES: Final = 256 + 2 * BACKLOG
"""Descriptors for everything but connections, and for those that nobody has looked at."""
AT_ONCE: Final = 64
"""Idle connections that are closed together, so that not each new one looks at all of them."""

_FULL = Refused(
    status=503,
    kind="server_error",
    code="too_many_connections",
    message="all connections that this service takes are in use; ask again after Retry-After",
    headers=(("retry-after", "1"),),
)
_NO_HTTP = Refused(
    status=400,
    code="invalid_http",
    message="this is no request of HTTP/1.1 as RFC 9112 has it; check what sent it, and that "
    "http and https are not mixed up",
)
_LONG_HEAD = Refused(
    status=431,
    code="headers_too_large",
    message=f"the request line and headers have more than {HEAD_BYTES} bytes, which is the most "
    "that is taken; send what is long in the body",
)


def room_for_connections() -> int:
    """
    Raise this process's limit of open files as far as needed, and return how many may connect.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    unlimited = soft == resource.RLIM_INFINITY
    spare = min(SPARE_FILES, soft // 2)
    return MOST_CONNECTIONS if unlimited else min(MOST_CONNECTIONS, soft - spare)


class Connection(H11Protocol):
    """
    HTTP/1.1 by uvicorn, with those limits.
    """

    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS
    most = MOST_CONNECTIONS
    active = 0.0
    """When a byte came last, by the loop's clock."""
    _late: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find a place, and begin to wait for the first request."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.active = self.loop.time()
        if len(self.connections) > self.most:
            self._make_room()
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is whole; wait again for the rest of the next."""
        self.active = self.loop.time()
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._late is None:
            self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Stop waiting: it reads."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_expecting()

    def on_response_complete(self) -> None:
        """Let the last bytes go out, but not for ever."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was not used again; likewise."""
        super().timeout_keep_alive_handler()
        self._expect_reading()

    def send_400_response(self, msg: str) -> None:
        """Say in OpenAI's shape that this is no HTTP; nothing if an answer has begun."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        problem = sys.exc_info()[1]
        hint = getattr(problem, "error_status_hint", 400)
        refused = _LONG_HEAD if hint == 431 else _NO_HTTP
        body = refused.body()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=refused.status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._expect_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        self._stop_expecting()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Close those that have been idle longest; if none is, refuse what comes on this one."""
        others = (
            each
            for each in self.connections
            if isinstance(each, Connection) and each.idle and each is not self
        )
        idle = sorted(others, key=attrgetter("active"))
        for each in idle[:AT_ONCE]:
            self.connections.discard(each)
            each.transport.abort()
        if not idle:
            self.app = _full

    def _wait(self) -> None:
        self._late = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _expect_reading(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.unread_seconds, self.transport.abort)

    def _stop_expecting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


async def _full(_: Scope, receive: Receive, send: Send) -> None:
    await send_refusal(send, _FULL, receive=receive)
