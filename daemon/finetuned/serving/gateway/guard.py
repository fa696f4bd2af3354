"""
The guards of the gateway around its routes, in the order in which a request meets them.

Pages of other origins, headers of every answer, the key, the body; then the routes. The key
comes before the body: who has none takes no memory and no time.
"""

from __future__ import annotations

from starlette.types import ASGIApp

from finetuned.serving.gateway.headers import (
    BODY_BYTES,
    BODY_SECONDS,
    BodyLimit,
    SecurityHeaders,
    with_cors,
)
from finetuned.serving.gateway.json_bodies import JsonBodies
from finetuned.serving.gateway.keys import KeyGuard, KeyRing


def guarded(
    app: ASGIApp,
    ring: KeyRing,
    *,
    origins: tuple[str, ...] = (),
    body_bytes: int = BODY_BYTES,
    body_seconds: float = BODY_SECONDS,
) -> ASGIApp:
    """
    Return *app* behind all guards; what is counted per request (limits.py) is the routes' matter.

    Args:
        app: The routes. ``request.state.caller`` is the Caller, None on /health/live.
        ring: The keys.
        origins: Pages of these may ask from a browser.
        body_bytes: Longest body of a request.
        body_seconds: Longest time that it may take to arrive.
    """
    bodies = BodyLimit(JsonBodies(app), max_bytes=body_bytes, max_seconds=body_seconds)
    return with_cors(SecurityHeaders(KeyGuard(bodies, ring)), origins)
