"""
A body is JSON whatever its Content-Type says: ``curl -d '{...}'`` says it is a form.

No route takes anything else. A page of another origin gains nothing by it: there are no cookies,
and a key has to be sent in a header.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_NAME = b"content-type"


class JsonBodies:
    """
    ASGI: tells *app* so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            others = [pair for pair in scope["headers"] if pair[0].lower() != _NAME]
            scope["headers"] = [*others, (_NAME, b"application/json")]
        await self.app(scope, receive, send)
