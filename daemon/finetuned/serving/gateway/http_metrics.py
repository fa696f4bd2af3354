"""
Middleware that counts HTTP requests by the template of their route. The outermost of all, so
that what a guard refuses is counted too. Does not read bodies.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetuned.serving.gateway.exchange import CLIENT_GONE
from finetuned.serving.gateway.metrics import Metrics

UNMATCHED: Final = "unmatched"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class CountHttp:
    """
    ASGI: hands each request on, and counts it when it has ended.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._templates: set[str] = set()
        """Templates without parameters that a request has reached; as many as there are routes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = monotonic()
        status = CLIENT_GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.http(self._handler(scope), method, status, monotonic() - began)

    def _handler(self, scope: Scope) -> str:
        """
        Return the template. A refused request never came to a route, so that its path counts
        only if it is a template itself.
        """
        template = getattr(scope.get("route"), "path", None)
        if isinstance(template, str):
            if template == scope["path"]:
                self._templates.add(template)
            return template
        return scope["path"] if scope["path"] in self._templates else UNMATCHED
