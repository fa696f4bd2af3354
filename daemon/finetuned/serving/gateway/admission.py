"""
Who may come in: every path needs a scope, and a path that is not known needs the highest.

Runs before the body is read. Does not know keys or limits (parts.Guard).
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from finetuned.serving.gateway.errors import Refusal
from finetuned.serving.gateway.parts import Caller, Guard, Scope

OPEN_PATHS: Final = frozenset({"/health/live"})

_SCOPES: Final[tuple[tuple[str, Scope], ...]] = (
    ("/v1/feedback", Scope.FEEDBACK),
    ("/v1/", Scope.ASK),
    ("/generate", Scope.ASK),
    ("/chat", Scope.ASK),
    ("/models", Scope.ASK),
    ("/openapi.json", Scope.ASK),
    ("/metrics", Scope.METRICS),
    ("/status", Scope.METRICS),
    ("/health", Scope.METRICS),
    ("/live", Scope.METRICS),
)
"""The first prefix that fits decides."""


def scope_of(path: str) -> Scope | None:
    """
    Return the scope that *path* needs; None if it needs none.
    """
    if path in OPEN_PATHS:
        return None
    if path == "/" or path.endswith("/models"):
        return Scope.METRICS if path == "/" else Scope.ASK
    for prefix, scope in _SCOPES:
        if path.startswith(prefix):
            return scope
    return Scope.ADMIN


class Admission:
    """
    Middleware that lets a request in or answers with the guard's refusal.
    """

    def __init__(self, app: ASGIApp, *, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = Caller("")
        needed = scope_of(scope["path"])
        if needed is not None:
            headers = dict(Headers(scope=scope))
            client = scope.get("client")
            try:
                caller = await self._guard.admit(needed, headers, client[0] if client else "")
            except Refusal as refusal:
                await refusal.response()(scope, receive, send)
                return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)
