"""
What is known of one request once it has ended, for everybody who counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from finetuned.core.access import Caller
from finetuned.core.generation import FailureKind, Finished, Generate, TokenLogprob


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A whole answer: the text that all pieces make, and its end.
    """

    text: str
    finished: Finished
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def n_bytes(self) -> int:
        """What it takes in memory, about."""
        alternatives = sum(1 + len(token.top) for token in self.logprobs)
        return 500 + 4 * len(self.text) + 150 * alternatives


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """
    One request as metrics, the log and the watch of a promoted version see it.
    """

    request_id: str
    route: str
    status: int
    """Of HTTP; 499 if the client went first."""
    caller: Caller
    order: Generate
    model: str
    """What answered, such as v0007."""
    seconds: float = 0.0
    """From its arrival to its end."""
    queue_seconds: float = 0.0
    first_seconds: float | None = None
    """From its arrival to its first token."""
    sent: bool = False
    """Whether the engine had it."""
    gaps: Sequence[float] = ()
    """Seconds between the pieces of its answer."""
    answer: Answer | None = None
    failure: FailureKind | None = None
    """Why there is no whole answer, if the engine was asked."""
    cached: bool = False


class Meter(Protocol):
    """
    Is told every request that ended.
    """

    def ended(self, record: Record) -> None:
        """Count *record*; must not block or raise."""
