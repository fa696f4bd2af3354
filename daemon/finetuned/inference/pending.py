"""
An answer while it is generated: its tokens so far, when it ends, and the limits it has.

Works on token ids: answers are cut by token, never by the length of a decoded string.
Pure; does not know models or batches, nor which answer is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from finetuned.core.confidence.likelihood import Likelihood, LikelihoodSum

if TYPE_CHECKING:
    import torch

LOOP_TOKENS: Final = 48
"""An answer whose last 48 tokens repeat one short pattern is taken to be in a loop."""

LOOP_PERIOD: Final = 8
"""Longest such pattern, in tokens."""

_LOOP_CHECK_TOKENS: Final = 8
"""A loop is looked for whenever the length of an answer is a multiple of this."""

Continuation = Sequence[tuple[int, bool]]
"""``(token id, supervised)`` of each token after a prompt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One generated answer.
    """

    ids: list[int]
    """The new tokens, without the stop token."""
    stopped: bool
    """Whether the model ended it with a stop token."""
    timed_out: bool
    """Whether a time limit cut it, so that it says nothing of the model."""
    n_refused: int = 0
    """Tokens that the model preferred and its guard refused; 0 if it would have said the same."""
    likelihood: Likelihood | None = field(default=None, compare=False)
    """Of its tokens; None without one. No part of what was answered: it is rounded."""


@dataclass(frozen=True, slots=True)
class Generation:
    """
    The settings that all answers of one call have in common.
    """

    stop_token_ids: frozenset[int]
    pad_token_id: int
    deadline: float
    """On the clock of time.monotonic, in seconds."""
    item_seconds: float | None = None
    """Longest time for one answer, of its own; None sets no limit but the deadline."""
    on_token: Callable[[], None] | None = None
    """Called after every pass through the model; its exceptions end the call."""
    cut_loops: bool = False
    """Whether an answer in a loop is ended."""

    def is_late(self, seconds: float = 0.0) -> bool:
        """
        Return whether the time is up for an answer that has taken *seconds* of its own so far.
        """
        if time.monotonic() >= self.deadline:
            return True
        return self.item_seconds is not None and seconds >= self.item_seconds

    def report_pass(self) -> None:
        """
        Call on_token after a pass through the model.
        """
        if self.on_token is not None:
            self.on_token()


class Holding(Protocol):
    """
    What holds one answer to a grammar; see guide.Guard.
    """

    def likeliest(self, best: int, logits: torch.Tensor) -> int:
        """Return the likeliest token that may come next, and go on after it."""


@dataclass(slots=True)
class PendingAnswer:
    """
    A prompt with its expected continuation and the answer to it as far as it is generated.
    """

    prompt: Sequence[int]
    continuation: Continuation
    limit: int
    """Longest answer in tokens, >= 0."""
    ids: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    """The same with the stop token that ended it."""
    stopped: bool = False
    done: bool = False
    """Whether the answer has ended; one that has not is timed out."""
    loss: tuple[float, int] = (0.0, 0)
    """Summed loss in nats and number of the continuation's supervised tokens."""
    seconds: float = 0.0
    """Its share of the passes it was part of: their wall time by the answers in them."""
    guard: Holding | None = None
    """Holds the answer to a grammar; None if it is free."""
    n_refused: int = 0
    """Tokens that the model preferred and the guard refused."""
    likely: LikelihoodSum = field(default_factory=LikelihoodSum)
    """Of the taken tokens."""

    def take(self, best: int, logits: torch.Tensor | None, generation: Generation) -> int:
        """
        Add the next token: the likeliest of all, or of those that the guard allows.

        Args:
            best: The likeliest of all.
            logits: (V,); needed only with a guard.
            generation: The settings of the call.

        Returns:
            The token.
        """
        token = best
        if self.guard is not None and logits is not None:
            token = self.guard.likeliest(best, logits)
            self.n_refused += token != best
        self.add(token, generation)
        return token

    def add(self, token: int, generation: Generation) -> None:
        """
        Append the next token, or end the answer if it is a stop token or the last one allowed.
        """
        self.taken.append(token)
        if token in generation.stop_token_ids:
            self.stopped = self.done = True
            return
        self.ids.append(token)
        self.done = len(self.ids) >= self.limit

    def end_if_in_loop(self) -> None:
        """
        End the answer if it repeats itself, unless it is the beginning of the continuation.

        A greedy model does not leave such a loop. Such an answer has not stopped.
        """
        if len(self.ids) < LOOP_TOKENS or len(self.ids) % _LOOP_CHECK_TOKENS:
            return
        tail = self.ids[-LOOP_TOKENS:]
        if not any(tail[p:] == tail[:-p] for p in range(1, LOOP_PERIOD + 1)):
            return
        if [token for token, _ in self.continuation[: len(self.ids)]] != self.ids:
            self.done = True

    def accept(
        self,
        predicted: Sequence[int],
        generation: Generation,
        *,
        reuse_agreement: bool,
        logits: torch.Tensor | None = None,
    ) -> int:
        """
        Take the tokens that the model predicts along the continuation, until the two differ.

        Args:
            predicted: At place j, the token after the prompt and j tokens of the continuation.
            generation: The settings of the call.
            reuse_agreement: False takes the first token only.
            logits: (Q, V), of which *predicted* are the largest; needed only with a guard.

        Returns:
            How many tokens of the continuation are part of the answer and are in the cache.
        """
        self.done = self.limit == 0
        place = 0
        while not self.done:
            token = self.take(
                predicted[place], None if logits is None else logits[place], generation
            )
            is_last = place + 1 >= len(self.continuation)
            if is_last or token != self.continuation[place][0] or not reuse_agreement:
                break
            place += 1
        return place

    def answer(self) -> Answer:
        """
        Return the answer as far as it is generated.
        """
        return Answer(
            self.ids,
            self.stopped,
            timed_out=not self.done,
            n_refused=self.n_refused,
            likelihood=self.likely.likelihood(),
        )
