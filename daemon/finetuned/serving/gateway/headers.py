"""
What every answer carries for browsers, which pages of other origins may ask, and how long a
request's body may be and take. ASGI; does not know keys or routes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetuned.serving.gateway.refusal import Refused, send_refusal

BODY_BYTES = 1 << 20
"""Longest body, unless told otherwise."""
HELD_BYTES = 8 << 20
"""Most bytes of all long bodies together, unless told otherwise."""
SHORT_BYTES: Final = 16 << 10
"""A body that is not longer counts for nothing: a few long ones must not shut it out."""
BODY_SECONDS = 10.0
"""Longest time a body may take to arrive, unless told otherwise."""

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A page runs our own files only: no inline script or style, nothing from elsewhere."""

SECURITY: Final = (
    ("content-security-policy", CSP),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("cache-control", "no-store"),
)
"""Set unless a route has set them itself."""

HSTS: Final = ("strict-transport-security", "max-age=31536000")

EXPOSED: Final = (
    "retry-after",
    "x-request-id",
    "x-finetuned-cache",
    "x-finetuned-version",
    "x-finetuned-decision",
    *(
        f"x-ratelimit-{what}-{kind}"
        for what in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens")
    ),
)
"""What a page of an allowed origin may read of an answer."""


class SecurityHeaders:
    """
    Adds SECURITY to every answer, refusals and errors included.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY:
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault(*HSTS)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def with_cors(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """
    Let pages of these origins ask *app*; without any, no page may (CORS is off).

    No cookies are used, so that a page needs a key as any other client does.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("authorization", "x-api-key", "content-type"),
        expose_headers=EXPOSED,
        max_age=600,
    )


class _Gone(Exception):
    """The client left before its body was whole."""


class _Refusal(Exception):
    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


class BodyLimit:
    """
    Reads a request's body, bounded in bytes and time, before *app* sees the request.

    Stands behind the check of the key: who has none takes no memory. A body whose length is
    declared is refused before a byte of it is read; one in chunks when it has become too long.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int = BODY_BYTES,
        max_seconds: float = BODY_SECONDS,
        max_held: int = HELD_BYTES,
    ) -> None:
        """
        Args:
            app: What gets the request.
            max_bytes: Longest body, > 0.
            max_seconds: From the end of the headers to the end of the body, > 0.
            max_held: Bytes of all bodies together, from their first byte to the end of the
                answer; raised to *max_bytes* if it is less.
        """
        self.app = app
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self.max_held = max(max_held, max_bytes)
        self.n_bytes = 0
        """What is held now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held = _Held(self)
        try:
            await self._pass_on(scope, receive, send, held)
        finally:
            held.take(0)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, held: _Held) -> None:
        try:
            self._check_declared(Headers(scope=scope), held)
            async with asyncio.timeout(self.max_seconds):
                body = await self._read(receive, held)
        except _Refusal as refusal:
            held.take(0)
            await send_refusal(send, refusal.refused, receive=None if held.whole else receive)
            return
        except TimeoutError:
            await send_refusal(send, self._slow(), receive=receive)
            return
        except _Gone:
            return
        await self.app(scope, _replay(body, receive), send)

    def _check_declared(self, headers: Headers, held: _Held) -> None:
        declared = headers.get("content-length", "").strip()
        if not declared:
            return
        if not (declared.isascii() and declared.isdigit()):
            raise _Refusal(
                Refused(
                    status=400,
                    code="invalid_content_length",
                    message="Content-Length is not a number of bytes; send it as digits",
                )
            )
        if len(declared) > 15 or int(declared) > self.max_bytes:
            raise _Refusal(self._long(f"{declared[:20]} bytes"))
        self._hold(held, int(declared))

    def _hold(self, held: _Held, n_bytes: int) -> None:
        """Take so much for one body, declared or read, whatever it took before."""
        if n_bytes > max(SHORT_BYTES, held.n_bytes):
            if self.n_bytes + n_bytes - held.n_bytes > self.max_held:
                raise _Refusal(self._full())
            held.take(n_bytes)

    async def _read(self, receive: Receive, held: _Held) -> bytes:
        parts: list[bytes] = []
        n_bytes = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            held.whole = not message.get("more_body", False)
            parts.append(message.get("body", b""))
            n_bytes += len(parts[-1])
            if n_bytes > self.max_bytes:
                raise _Refusal(self._long(f"more than {self.max_bytes} bytes"))
            self._hold(held, n_bytes)
            if held.whole:
                return b"".join(parts)

    def _long(self, found: str) -> Refused:
        return Refused(
            status=413,
            code="body_too_large",
            message=(
                f"the body has {found}, expected at most {self.max_bytes}; send less, or raise "
                "body_bytes in [serving] of config.toml"
            ),
        )

    def _full(self) -> Refused:
        return Refused(
            status=503,
            kind="server_error",
            code="bodies_too_large",
            message=(
                f"the bodies of all requests that are here have more than {self.max_held} bytes, "
                "which is all that this service takes; ask again after Retry-After"
            ),
            headers=(("retry-after", "1"),),
        )

    def _slow(self) -> Refused:
        return Refused(
            status=408,
            code="body_too_slow",
            message=f"the body was not whole after {self.max_seconds:g} s; send it at once",
        )


class _Held:
    """What one request has of BodyLimit.n_bytes."""

    def __init__(self, limit: BodyLimit) -> None:
        self._limit = limit
        self.n_bytes = 0
        self.whole = False
        """Whether the last byte of the body has come."""

    def take(self, n_bytes: int) -> None:
        self._limit.n_bytes += n_bytes - self.n_bytes
        self.n_bytes = n_bytes


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the whole body first, and then what the client does."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
