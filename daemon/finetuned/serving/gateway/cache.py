"""
Answers at temperature 0, given again for the same request to the same version.

The key is the version and the request as it is written, letter by letter: nothing is put in
another order, because a template may render it in the order in which it came. Bounded in bytes
and age; dropped whole at a swap. Does not know what an answer is, nor HTTP.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

import orjson

from finetuned.core.generation import Generate

A = TypeVar("A")

HEADER: Final = "x-finetuned-cache"
"""Of a response; its value is a Lookup."""

ENTRY_BYTES = 400
"""What an entry takes beside its answer: the key, its place in the order, its times."""

SECONDS = 3600.0
"""Age above which an answer is made anew, unless told otherwise."""


class Lookup(StrEnum):
    """
    What the cache had for a request, in the response header and the metrics.
    """

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"  # not an answer that is kept: temperature above 0, or the cache is off


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    Where the answer to one request belongs, as long as no swap comes between.
    """

    digest: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class _Entry(Generic[A]):
    answer: A
    n_bytes: int
    made: float


def request_digest(version: str, request: Generate) -> bytes | None:
    """
    Return what two requests share only if a version must answer both alike.

    Its id, its deadline and, as nothing is drawn at temperature 0, its seed are left out.

    Args:
        version: Name of the model that will answer, as answers are labelled.
        request: The request; the name of the model in it may be the stable one.

    Returns:
        32 bytes; None if the answer is not to be kept: it is drawn, or JSON cannot write it.
    """
    sampling = request.sampling
    if sampling.temperature != 0:
        return None
    parts = (
        version,
        request.text,
        request.messages,
        request.tools,
        sampling.max_tokens,
        sampling.stop,
        sampling.top_logprobs,
        sampling.guide,
        sampling.schema,
    )
    try:
        return hashlib.sha256(orjson.dumps(parts)).digest()
    except TypeError:  # lone surrogates, integers above 64 bits
        return None


class AnswerCache(Generic[A]):
    """
    Answers by request, the least recently asked for go first.
    """

    def __init__(
        self,
        max_bytes: int,
        *,
        max_seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            max_bytes: Of all answers and their entries together; 0 turns the cache off.
            max_seconds: Age above which an answer is not given any more.
            clock: Seconds, never going back.
        """
        self.max_bytes = max_bytes
        self.max_seconds = max_seconds
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry[A]] = OrderedDict()
        self._epoch = 0
        self.n_bytes = 0
        """What is held now, never more than *max_bytes*."""
        self.counts = dict.fromkeys(Lookup, 0)
        """Look-ups so far, by what they found."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, version: str, request: Generate) -> tuple[Lookup, A | None, Ticket | None]:
        """
        Return what is held for a request.

        Returns:
            Whether there is an answer; the answer; and, if it is missing and may be kept once
            it is made, the ticket to put it with.
        """
        lookup, answer, ticket = self._find(version, request)
        self.counts[lookup] += 1
        return lookup, answer, ticket

    def _find(self, version: str, request: Generate) -> tuple[Lookup, A | None, Ticket | None]:
        digest = request_digest(version, request) if self.max_bytes > 0 else None
        if digest is None:
            return Lookup.BYPASS, None, None
        entry = self._entries.get(digest)
        if entry is not None and self._clock() - entry.made < self.max_seconds:
            self._entries.move_to_end(digest)
            return Lookup.HIT, entry.answer, None
        if entry is not None:
            self._remove(digest)
        return Lookup.MISS, None, Ticket(digest, self._epoch)

    def put(self, ticket: Ticket, answer: A, n_bytes: int) -> bool:
        """
        Keep a whole answer.

        Args:
            ticket: From get(). After a swap it is void: the answer may be of weights that the
                same name does not mean any more.
            answer: Must not change afterwards.
            n_bytes: What it takes in memory, about.

        Returns:
            Whether it was kept.
        """
        total = n_bytes + ENTRY_BYTES
        if ticket.epoch != self._epoch or n_bytes < 0 or total > self.max_bytes:
            return False
        if ticket.digest in self._entries:
            self._remove(ticket.digest)
        while self.n_bytes + total > self.max_bytes:
            self._remove(next(iter(self._entries)))
        self._entries[ticket.digest] = _Entry(answer, total, self._clock())
        self.n_bytes += total
        return True

    def clear(self) -> None:
        """
        Forget everything, and void the tickets of answers that are being made: a swap.
        """
        self._entries.clear()
        self.n_bytes = 0
        self._epoch += 1

    def _remove(self, digest: bytes) -> None:
        self.n_bytes -= self._entries.pop(digest).n_bytes
