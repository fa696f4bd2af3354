"""
Who may ask a service for what, and how much of it in a minute.

Pure: knows scopes, tiers and the names of routes. Does not know keys' secrets, HTTP or clocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from finetuned.config.serving import Tier
from finetuned.errors import ConfigError


class Scope(StrEnum):
    """
    What a key opens.
    """

    ASK = "ask"  # models, answers, readiness
    FEEDBACK = "feedback"  # saying what was wrong with an answer
    METRICS = "metrics"  # /metrics, readiness, the status
    ADMIN = "admin"  # everything, the page included


DEFAULT_TIER = "standard"

TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier(name="standard", requests_per_minute=60, tokens_per_minute=100_000),
        Tier(name="high", requests_per_minute=1_200, tokens_per_minute=2_000_000),
        Tier(name="unlimited", requests_per_minute=0, tokens_per_minute=0),
    )
}
"""60 requests a minute is what the fifth document's RATE_LIMIT_PER_MINUTE is unless it is set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """
    Whoever sent a request with a key that is good.
    """

    id: str
    """Of the key; safe to log."""
    name: str
    scopes: tuple[Scope, ...]
    tier: Tier

    def may(self, needed: Scope) -> bool:
        """
        Return whether one of the scopes opens what needs *needed*.
        """
        return Scope.ADMIN in self.scopes or needed in self.scopes


_ASK = (Scope.ASK,)
_WATCH = (Scope.ASK, Scope.METRICS)

_ROUTES: Final[Mapping[tuple[str, str], tuple[Scope, ...]]] = {
    ("GET", "/"): _WATCH,  # as JSON; the live page at the same path is for ADMIN
    ("GET", "/health"): _WATCH,
    ("GET", "/health/ready"): _WATCH,
    ("GET", "/status"): _WATCH,
    ("GET", "/metrics"): (Scope.METRICS,),
    ("GET", "/models"): _ASK,
    ("GET", "/v1/models"): _ASK,
    ("POST", "/v1/chat/completions"): _ASK,
    ("POST", "/v1/completions"): _ASK,
    ("POST", "/v1/embeddings"): _ASK,
    ("POST", "/generate"): _ASK,
    ("POST", "/chat"): _ASK,
    ("GET", "/openapi.json"): _ASK,
    ("POST", "/v1/feedback"): (Scope.FEEDBACK,),
}
"""By method and path: scopes of which one is enough. What is not listed needs ADMIN."""

_SHAPES: Final = (
    ("GET", re.compile(r"/v1/models/.*", re.DOTALL), _ASK),
    ("GET", re.compile(r"/[^/]+/models"), _ASK),
    ("POST", re.compile(r"/chat/[^/]+"), _ASK),
)
"""Routes with the name of a model in their path."""

_PAGE: Final = re.compile(r"/|/versions|/(?:live|versions|datasets|static)/.*", re.DOTALL)

OPEN: Final = frozenset({("GET", "/health/live"), ("HEAD", "/health/live")})
"""What anybody may ask: whether the process is alive, and nothing about it."""


def needed_scopes(method: str, path: str) -> tuple[Scope, ...]:
    """
    Return the scopes of which a caller needs one; none for a route that is open to anybody.

    The path is compared letter by letter, as the routes are: ``/health/live/`` or ``//metrics``
    is another path, which is not listed and therefore needs ADMIN.

    Args:
        method: In capitals; HEAD is held to what GET needs.
        path: Decoded, without the query.
    """
    if (method, path) in OPEN:
        return ()
    method = "GET" if method == "HEAD" else method
    if (found := _ROUTES.get((method, path))) is not None:
        return found
    for verb, shape, scopes in _SHAPES:
        if method == verb and shape.fullmatch(path):
            return scopes
    return (Scope.ADMIN,)


def is_page(method: str, path: str) -> bool:
    """
    Return whether a browser may ask for this with HTTP Basic, the key as the password.

    Nothing that changes or generates anything: a browser sends what it was given once with
    every request to this origin, whoever made the link.
    """
    return method in ("GET", "HEAD") and _PAGE.fullmatch(path) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """
    What the environment says of access; the first three in the fifth document's names.
    """

    api_key: str | None = None
    """API_KEY: one more key, with the scopes ask, feedback and metrics."""
    requests_per_minute: int | None = None
    """RATE_LIMIT_PER_MINUTE: of the tier ``standard``."""
    allowed_origins: tuple[str, ...] = ()
    """ALLOWED_ORIGINS: pages of these origins may ask from a browser."""
    engine_key: str | None = None
    """FINETUNED_ENGINE_KEY: what the service shows to the server in ``serving.engine``."""

    def tiers(self, configured: Mapping[str, Tier]) -> dict[str, Tier]:
        """
        Return the tiers, ``standard`` with the limit that the environment sets.
        """
        tiers = {**TIERS, **configured}
        if self.requests_per_minute is not None:
            limit = self.requests_per_minute
            tiers[DEFAULT_TIER] = replace(tiers[DEFAULT_TIER], requests_per_minute=limit)
        return tiers


SHORTEST_API_KEY = 16
"""Characters of an API_KEY that cannot be guessed by trying."""

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")


def read_environment(variables: Mapping[str, str]) -> Environment:
    """
    Return what API_KEY and the other variables say; empty ones say nothing.

    Args:
        variables: Usually os.environ.

    Raises:
        ConfigError: One of them cannot be used; the message has its name, and no key.
    """
    return Environment(
        api_key=_api_key(variables.get("API_KEY", "").strip()),
        requests_per_minute=_rate(variables.get("RATE_LIMIT_PER_MINUTE", "").strip()),
        allowed_origins=parse_origins(variables.get("ALLOWED_ORIGINS", "")),
        engine_key=_engine_key(variables.get("FINETUNED_ENGINE_KEY", "").strip()),
    )


def _api_key(text: str) -> str | None:
    if not text:
        return None
    if len(text) < SHORTEST_API_KEY or not text.isascii() or not text.isprintable():
        raise ConfigError(
            f"API_KEY has {len(text)} characters, expected at least {SHORTEST_API_KEY} printable "
            "ASCII ones; unset it and make a key with finetuned keys create"
        )
    return text


def _engine_key(text: str) -> str | None:
    if text and not (text.isascii() and text.isprintable()):
        raise ConfigError(
            "FINETUNED_ENGINE_KEY has characters that a header cannot carry, expected printable "
            "ASCII ones; copy the key again"
        )
    return text or None


def _rate(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 10**9):
        raise ConfigError(
            f"RATE_LIMIT_PER_MINUTE is {text[:40]!r}, expected a whole number from 1 to 1000000000"
        )
    return int(text[:10])


def parse_origins(text: str) -> tuple[str, ...]:
    """
    Return the origins of a list with commas, each once, in their order.

    Raises:
        ConfigError: One of them is no origin.
    """
    origins = dict.fromkeys(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"ALLOWED_ORIGINS has {origin[:80]!r}, expected origins such as "
                "https://chat.example.org, with commas between them, or * for any"
            )
    return tuple(origins)
