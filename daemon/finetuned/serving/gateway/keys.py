"""
Who asks: the key of a request, looked up in the root's list, and whether it opens the route.

Everything but /health/live needs a key. A check reads memory only; the list is read again when
its file has changed. Does not know how much a caller has used (limits.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from finetuned.config.serving import Tier
from finetuned.core.access import DEFAULT_TIER, TIERS, Caller, is_page, needed_scopes
from finetuned.core.access import Scope as KeyScope
from finetuned.errors import RecordError
from finetuned.files.key_use import write_last_use
from finetuned.files.keys import Key, KeyList, file_stamp, hashed, read_keys, split_key, time_text
from finetuned.layout import Layout
from finetuned.serving.gateway.refusal import Refused, send_refusal

RETRY_SECONDS = 1.0
"""Between two tries to read a list that could not be read."""
LONGEST_KEY = 512
"""Characters of a header that is looked at as a key."""

_NOBODY_SALT: Final = "00" * 16
"""Hashed for an id that does not exist, so that it takes as long as one that does."""

_BEARER: Final = (("www-authenticate", 'Bearer realm="finetuned"'),)
_BASIC: Final = (("www-authenticate", 'Basic realm="finetuned", charset="UTF-8"'),)
"""Lets a browser ask its user for a key."""

Clock = Callable[[], float]


class KeyRing:
    """
    The keys of one root, and keys that belong to this process alone.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        tiers: Mapping[str, Tier] = TIERS,
        api_key: str | None = None,
        local_key: str | None = None,
        clock: Clock = time.time,
    ) -> None:
        """
        Args:
            layout: Of the root.
            tiers: By name; a key whose tier is not among them gets ``standard``'s.
            api_key: API_KEY of the environment, with the scopes ask, feedback and metrics.
            local_key: Made at each start for the commands on this machine that may read the
                root; opens everything, without limits.
            clock: Seconds since 1970.
        """
        self._layout = layout
        self._tiers = tiers
        self._clock = clock
        self._own: list[tuple[bytes, Caller]] = []
        if api_key is not None:
            scopes = (KeyScope.ASK, KeyScope.FEEDBACK, KeyScope.METRICS)
            self._add_own(api_key, "environment", scopes, tiers[DEFAULT_TIER])
        if local_key is not None:
            self._add_own(local_key, "local", (KeyScope.ADMIN,), TIERS["unlimited"])
        self._stamp: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self.problem: str | None = None
        """Why the list cannot be read; while it cannot, no key in it opens anything."""
        self._retry_at = 0.0
        self._used: dict[str, float] = {}
        self._look(first=True)

    def _add_own(self, key: str, name: str, scopes: tuple[KeyScope, ...], tier: Tier) -> None:
        caller = Caller(id=name, name=name, scopes=scopes, tier=tier)
        self._own.append((hashlib.sha256(key.encode()).digest(), caller))

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> Caller | Refused | None:
        """
        Return who asks, why they may not, or None if the route is open to anybody.

        Args:
            method: In capitals.
            path: Decoded, without the query.
            headers: Of the request; names in any case if the mapping ignores case.
        """
        needed = needed_scopes(method, path)
        if not needed:
            return None
        page = is_page(method, path)
        found = self.caller(headers, basic=page)
        if isinstance(found, Refused):
            return replace(found, headers=_BASIC) if page and found.status == 401 else found
        if any(found.may(scope) for scope in needed):
            return found
        if needed == (KeyScope.ADMIN,) and not page:
            return Refused(
                status=404,
                code="no_such_route",
                kind="invalid_request_error",
                message="there is no such route; GET /openapi.json lists those that are",
            )
        return Refused(
            status=403,
            code="insufficient_scope",
            kind="permission_error",
            message=(
                f"key {found.id} has the scope {', '.join(found.scopes)}, and {method} on this "
                f"path needs {' or '.join(needed)}; make a key with it: "
                f"finetuned keys create NAME --scope {needed[0]}"
            ),
        )

    def caller(self, headers: Mapping[str, str], *, basic: bool = False) -> Caller | Refused:
        """
        Return whose key the headers have, or why it opens nothing.

        Args:
            headers: Of the request.
            basic: Whether the key may be the password of HTTP Basic, under any user's name.
        """
        given = _given_key(headers, basic=basic)
        if isinstance(given, Refused):
            return given
        digest = hashlib.sha256(given.encode()).digest()
        own = [caller for kept, caller in self._own if hmac.compare_digest(kept, digest)]
        if own:
            return own[0]
        self._look()
        return self._listed(given)

    def _listed(self, given: str) -> Caller | Refused:
        if self.problem is not None:
            return Refused(
                status=503,
                code="keys_unreadable",
                kind="server_error",
                message="the list of keys cannot be read, so that no key in it is accepted; "
                "the service's log has the reason, and finetuned keys list shows it",
            )
        parts = split_key(given)
        key = self._keys.get(parts[0]) if parts is not None else None
        if key is None or parts is None:
            hashed(_NOBODY_SALT, given)
            return _unknown()
        if not key.matches(parts[1]):
            return _unknown()
        now = self._clock()
        state = key.state(time_text(now))
        if state in ("revoked", "expired"):
            return _unknown(f"key {key.id} is {state}; ask for a new one", f"{state}_api_key")
        self._used[key.id] = now
        tier = self._tiers.get(key.tier, self._tiers[DEFAULT_TIER])
        return Caller(id=key.id, name=key.name, scopes=key.scopes, tier=tier)

    def _look(self, *, first: bool = False) -> None:
        """Read the list again if its file is another than at the last look."""
        try:
            stamp = file_stamp(self._layout)
            waits = self.problem is None or self._clock() < self._retry_at
            if stamp == self._stamp and waits and not first:
                return
            # Before the reading: a list that is replaced meanwhile is read again.
            self._stamp = stamp
            self._take(read_keys(self._layout))
            self.problem = None
        except (RecordError, OSError) as error:
            self.problem = str(error)
            self._retry_at = self._clock() + RETRY_SECONDS

    def _take(self, found: KeyList) -> None:
        self._keys = {key.id: key for key in found.keys}

    def save_last_use(self) -> None:
        """
        Write down when keys were used since the last call; nothing if none was.

        Raises:
            OSError: The disk refused; the next call tries again.
        """
        if self._used:
            used = dict(self._used)
            write_last_use(self._layout, used)
            self._used = {k: v for k, v in self._used.items() if used.get(k) != v}


def _unknown(
    message: str = "this key is not known here; finetuned keys list shows the keys there are, "
    "and finetuned keys create NAME makes one",
    code: str = "invalid_api_key",
) -> Refused:
    return Refused(
        status=401, code=code, kind="authentication_error", message=message, headers=_BEARER
    )


def _given_key(headers: Mapping[str, str], *, basic: bool) -> str | Refused:
    """Return the key that the headers have; two that differ are refused, not chosen from."""
    found = []
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if basic and scheme.lower() == "basic":
        found.append(_password(token.strip()))
    elif scheme:
        if scheme.lower() != "bearer" or not token.strip():
            return _unknown("expected the header 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        found.append(token.strip())
    if plain := headers.get("x-api-key", "").strip():
        found.append(plain)
    if not found:
        return _unknown(
            "no key was sent, expected the header 'Authorization: Bearer KEY' or "
            "'X-API-Key: KEY'; finetuned keys create NAME makes one",
            "missing_api_key",
        )
    if len(set(found)) > 1:
        return _unknown("the headers Authorization and X-API-Key have different keys; send one")
    if len(found[0]) > LONGEST_KEY or not found[0].isascii():
        return _unknown()
    return found[0]


def _password(token: str) -> str:
    """Return the password of HTTP Basic; one that cannot be read is a key that nobody has."""
    try:
        return base64.b64decode(token, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class KeyGuard:
    """
    ASGI: lets a request through to *app* if its key opens the route.

    ``scope["state"]["caller"]`` is then the Caller, or None on a route that is open to anybody.
    WebSockets are refused: there is no route for them.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing) -> None:
        self.app = app
        self.ring = ring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        found = self.ring.check(scope["method"], scope["path"], Headers(scope=scope))
        if isinstance(found, Refused):
            await send_refusal(send, found, receive=receive)
            return
        scope.setdefault("state", {})["caller"] = found
        await self.app(scope, receive, send)
