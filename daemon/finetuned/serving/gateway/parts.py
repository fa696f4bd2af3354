"""
What the gateway needs of its guard, cache, meter and feedback, as small interfaces.

Each has an open default that does nothing, for tests and for whoever leaves a part out.
Does not know how any of them works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from finetuned.core.generation import Finished, Generate, TokenLogprob


class Scope(StrEnum):
    """
    What a key may do.
    """

    ASK = "ask"
    FEEDBACK = "feedback"
    METRICS = "metrics"  # also status and the live page: reading only
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who asks.
    """

    key_id: str
    """Of the key, never the key itself; "" if none is needed."""
    tier: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """x-ratelimit headers of the response."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A whole answer: the text that all pieces make, and its end.
    """

    text: str
    finished: Finished
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """
    One request as metrics and feedback keep it.
    """

    request_id: str
    route: str
    status: int
    caller: Caller
    seconds: float
    """From its arrival to its end."""
    queue_seconds: float = 0.0
    first_seconds: float | None = None
    """From its arrival to its first token."""
    model: str = ""
    """What answered, such as v0007."""
    order: Generate | None = None
    answer: Answer | None = None
    cached: bool = False


class Guard(Protocol):
    """
    Lets requests in, or raises a Refusal (errors.py): 401, 403 or 429.
    """

    async def admit(self, scope: Scope, headers: Mapping[str, str], address: str) -> Caller:
        """Return who asks. *headers* has lower-case names."""

    async def spent(self, caller: Caller, tokens: int) -> None:
        """Count the tokens of an answer against the caller's tier."""


class Cache(Protocol):
    """
    Answers of earlier requests at temperature 0.
    """

    def get(self, order: Generate) -> Answer | None:
        """Return the answer to a request that differs in nothing but its id."""

    def put(self, order: Generate, answer: Answer) -> None:
        """Keep an answer."""

    def drop(self) -> None:
        """Forget all: another version is in use."""


class Meter(Protocol):
    """
    Is told every request that ended.
    """

    def ended(self, record: Record) -> None:
        """Count *record*; must not block or raise."""


class Open:
    """
    Lets everybody in, keeps nothing and counts nothing.
    """

    async def admit(self, scope: Scope, headers: Mapping[str, str], address: str) -> Caller:
        return Caller("")

    async def spent(self, caller: Caller, tokens: int) -> None:
        return None

    def get(self, order: Generate) -> Answer | None:
        return None

    def put(self, order: Generate, answer: Answer) -> None:
        return None

    def drop(self) -> None:
        return None

    def ended(self, record: Record) -> None:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """
    The parts that one gateway is put together from.
    """

    guard: Guard = field(default_factory=Open)
    cache: Cache = field(default_factory=Open)
    meters: tuple[Meter, ...] = ()
    """Metrics, health for the watch, feedback: each is told of every request."""
