"""
How much each key has used in this minute: requests and tokens, in memory or in Redis.

Requests slide: the last minute counts, whenever it began. Tokens are counted when an answer has
ended, as many as it took; a caller who is over the limit then waits until that minute ends. So
at most the answers that run at the time go beyond. Several gateways count together in Redis;
while Redis does not answer, each counts for itself and says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError

from finetuned.core.access import Caller
from finetuned.errors import ConfigError
from finetuned.serving.gateway.refusal import Refused

log = structlog.get_logger()

T = TypeVar("T")

RETRY_SECONDS = 5.0
"""How long a storage that failed is left alone."""
TIMEOUT_SECONDS = 0.25
"""Longest wait for Redis: a request must not hang on its limits."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    A request that may go on.
    """

    headers: Pairs
    """x-ratelimit-* for its answer."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """One kind of use: what is left of the limit, and in how many seconds there is more."""

    kind: str
    limit: int
    left: int
    seconds: float

    def headers(self) -> Pairs:
        return (
            (f"x-ratelimit-limit-{self.kind}", str(self.limit)),
            (f"x-ratelimit-remaining-{self.kind}", str(self.left)),
            (f"x-ratelimit-reset-{self.kind}", span(self.seconds)),
        )


def span(seconds: float) -> str:
    """
    Return a span of time as OpenAI writes it: ``250ms``, ``12s``, ``1m0s``.
    """
    if seconds < 1:
        return f"{math.ceil(max(seconds, 0) * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"


class _Counts:
    """Both strategies on one storage."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self.storage = storage
        self.requests = SlidingWindowCounterRateLimiter(storage)
        self.tokens = FixedWindowRateLimiter(storage)


class Limiter:
    """
    Counts what callers use, and refuses what is over their tier.
    """

    def __init__(self, uri: str = "", *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            uri: ``redis://HOST:PORT/0`` for several gateways; empty for this process alone.
            clock: Seconds, never going back.

        Raises:
            ConfigError: The URI is of no storage that is known.
        """
        self._clock = clock
        self._own = _Counts(MemoryStorage())
        self._shared = _Counts(_redis(uri)) if uri else None
        self._retry_at = 0.0
        self.problem: str | None = None
        """Why callers are counted by this process alone although Redis is configured."""

    async def admit(self, caller: Caller, *, most_tokens: int = 0) -> Allowed | Refused:
        """
        Count one request, if the caller may still send one in this minute.

        A refused request is not counted: who is told to wait and waits is let in.

        Args:
            caller: Whose request it is.
            most_tokens: How many tokens it may take at most; one that can never fit into the
                caller's minute is refused now, whatever is left.
        """
        return await self._counted(lambda counts: _admit(counts, caller, most_tokens))

    async def spend(self, caller: Caller, tokens: int) -> None:
        """
        Count the tokens of an answer that has ended, also of one that ended early.

        Args:
            caller: Whose answer it is.
            tokens: Of prompt and answer together, >= 0.
        """
        limit = caller.tier.tokens_per_minute
        if limit and tokens > 0:
            item = _tokens_item(limit)
            await self._counted(lambda counts: counts.tokens.hit(item, caller.id, cost=tokens))

    async def close(self) -> None:
        """
        Close the connections to Redis; nothing is counted afterwards.
        """
        if self._shared is not None and isinstance(self._shared.storage, RedisStorage):
            with suppress(Exception):  # a server that is gone, in whatever way a driver says so
                await self._shared.storage.bridge.storage.aclose()  # type: ignore[attr-defined]

    async def _counted(self, work: Callable[[_Counts], Awaitable[T]]) -> T:
        """Do *work* on the shared counts, on our own ones if they cannot be had."""
        if self._shared is None or self._clock() < self._retry_at:
            return await work(self._own)
        try:
            found = await work(self._shared)
        except Exception as error:  # whatever a driver raises, asking goes on
            if self.problem is None:
                log.warning("limits_not_shared", reason=f"{type(error).__name__}: {error}")
            self.problem = f"Redis does not count requests ({type(error).__name__}: {error})"
            self._retry_at = self._clock() + RETRY_SECONDS
            return await work(self._own)
        self.problem = None
        return found


def _redis(uri: str) -> RedisStorage:
    scheme, found, rest = uri.partition("://")
    if not found or scheme not in ("redis", "rediss", "redis+unix"):
        raise ConfigError(
            f"limits in {scheme[:20]!r} are not known, expected redis://HOST:PORT/0, "
            "rediss:// (TLS), redis+unix:///PATH, or nothing for this process alone"
        )
    try:
        return RedisStorage(
            f"async+{scheme}://{rest}",
            implementation="redispy",
            key_prefix="finetuned",
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
    except ConfigurationError as error:
        raise ConfigError(
            f"serving.limits_store: {error}; if the library redis is missing: "
            "pip install 'finetuned[redis]'"
        ) from None


def _tokens_item(limit: int) -> RateLimitItem:
    return RateLimitItemPerMinute(limit, namespace="tokens")


async def _admit(counts: _Counts, caller: Caller, most_tokens: int) -> Allowed | Refused:
    tier = caller.tier
    headers: Pairs = ()
    if limit := tier.tokens_per_minute:
        if most_tokens > limit:
            return _never_fits(most_tokens, limit, tier.name)
        tokens = await _left(counts.tokens, _tokens_item(limit), caller.id, "tokens")
        if tokens.left < 1:
            return _too_much(tokens, tier.name)
        headers = tokens.headers()
    if limit := tier.requests_per_minute:
        item = RateLimitItemPerMinute(limit, namespace="requests")
        counted = await counts.requests.hit(item, caller.id)
        requests = await _left(counts.requests, item, caller.id, "requests")
        if not counted:
            return _too_much(requests, tier.name)
        headers = requests.headers() + headers
    return Allowed(headers)


async def _left(
    strategy: SlidingWindowCounterRateLimiter | FixedWindowRateLimiter,
    item: RateLimitItem,
    caller: str,
    kind: str,
) -> _Counted:
    stats = await strategy.get_window_stats(item, caller)
    seconds = max(0.0, stats.reset_time - time.time())
    return _Counted(kind, item.amount, stats.remaining, min(seconds, 60.0))


def _too_much(counted: _Counted, tier: str) -> Refused:
    wait = max(1, math.ceil(counted.seconds))
    return Refused(
        status=429,
        code="rate_limit_exceeded",
        kind=counted.kind,
        message=(
            f"all {counted.limit} {counted.kind} a minute of tier {tier!r} are used, expected at "
            f"most that many; try again in {wait} s, or ask for a key of a higher tier"
        ),
        headers=(("retry-after", str(wait)), *counted.headers()),
    )


def _never_fits(most: int, limit: int, tier: str) -> Refused:
    return Refused(
        status=429,
        code="request_too_large",
        kind="tokens",
        message=(
            f"this request may take {most} tokens, tier {tier!r} has {limit} a minute: it can "
            "never fit; lower max_tokens, shorten the prompt, or ask for a key of a higher tier"
        ),
    )
