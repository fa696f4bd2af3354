"""
One request while it is answered: its tokens so far, when it ends, and what is reported of it.

Does not know models or batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

from finetuned.core.confidence.calibration import ConfidenceMap, source_of
from finetuned.core.confidence.likelihood import LikelihoodSum
from finetuned.core.confidence.signs import Ending
from finetuned.core.generation import (
    Finished,
    FinishReason,
    Generate,
    Guide,
    Piece,
    TokenLogprob,
    copy_check,
)
from finetuned.serving.engine.parts import AnswerParts
from finetuned.serving.engine.sample import Chosen, Sampler
from finetuned.serving.engine.text import AnswerText

if TYPE_CHECKING:
    from finetuned.inference.guide import Guard


_OPENING: Final = 8
"""Last tokens of a prompt that may open a reasoning block."""


class RunningAnswer:
    """
    The answer to one Generate.
    """

    def __init__(
        self,
        order: Generate,
        prompt: Sequence[int],
        *,
        limit: int,
        decode: Callable[[Sequence[int]], str],
        stop_token_ids: Collection[int],
        guard: Guard | None = None,
        confidence_map: ConfidenceMap | None = None,
    ) -> None:
        """
        Args:
            order: What was asked.
            prompt: Its token ids, not empty.
            limit: Longest answer in tokens, >= 1.
            decode: Text of tokens.
            stop_token_ids: Any of these ends the answer and is not part of it.
            guard: Holds the answer to a grammar; None if it is free.
            confidence_map: Of the model; None if its confidence is not calibrated.
        """
        self.order = order
        self.prompt = list(prompt)
        self.limit = limit
        self.ids: list[int] = []
        """The answer, without the token that ended it."""
        self.reason: FinishReason | None = None
        """Why it ended; None while it goes on."""
        self.cached = 0
        """Tokens of the prompt that were not computed again."""
        self.guard = guard
        self.sampler = Sampler(order.sampling)
        self._decode = decode
        self._stops = frozenset(stop_token_ids)
        self._text = AnswerText(decode, order.sampling.stop)
        is_chat = order.text is None
        self._parts = AnswerParts(
            opened=is_chat and decode(self.prompt[-_OPENING:]).rstrip().endswith("<think>"),
            calls=is_chat and bool(order.tools),
        )
        self._is_chat = is_chat
        self._certain = ""
        self._shown = 0
        self._began = time.monotonic()
        self._deadline = self._began + order.seconds
        self._first: float | None = None
        self._map = confidence_map
        self._likely = LikelihoodSum()
        self._n_refused = 0
        self._unsent: list[TokenLogprob] = []

    @property
    def slots(self) -> int:
        """Most tokens that prompt and answer take in the cache."""
        return len(self.prompt) + self.limit

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token is always the right one: no chance and no grammar."""
        sampling = self.order.sampling
        return sampling.temperature == 0 and self.guard is None and not sampling.top_logprobs

    @property
    def text(self) -> str:
        """The answer so far."""
        return self._text.text

    def is_late(self) -> bool:
        """
        Return whether its deadline has passed.
        """
        return time.monotonic() >= self._deadline

    def add(self, chosen: Chosen) -> None:
        """
        Append the next token, or end the answer if it is a stop token or the last one allowed.
        """
        if self._first is None:
            self._first = time.monotonic()
        self._likely.add(chosen.logprob, chosen.margin)
        self._n_refused += chosen.refused
        if chosen.token in self._stops:
            self.reason = FinishReason.STOP
            return
        self.ids.append(chosen.token)
        self._text.add(chosen.token)
        if self.order.sampling.top_logprobs is not None:
            top = tuple((self._decode([token]), value) for token, value in chosen.top)
            self._unsent.append(
                TokenLogprob(text=self._decode([chosen.token]), logprob=chosen.logprob, top=top)
            )
        if self.guard is not None:
            self.guard.accept(chosen.token)
        if self._text.stopped or (self.guard is not None and self.guard.is_complete):
            self.reason = FinishReason.STOP
        elif len(self.ids) >= self.limit:
            self.reason = FinishReason.LENGTH

    def piece(self) -> Piece | None:
        """
        Return what can be shown and was not yet, if anything.
        """
        ended = self.reason is not None
        self._certain += self._text.take(ended=ended)
        visible = self._certain
        if self._is_chat:
            visible = self._parts.visible(self._certain, ended=ended)
            if ended and self._parts.tool_calls:
                self.reason = FinishReason.TOOL_CALLS
        text, self._shown = visible[self._shown :], len(visible)
        if not text and not (self._unsent and self.reason is not None):
            return None
        logprobs, self._unsent = tuple(self._unsent), []
        return Piece(id=self.order.id, text=text, logprobs=logprobs)

    def complaint(self) -> str | None:
        """
        Return why a guided answer that has ended is not what it was held to, or None.

        One that was cut by its length is not complained of: its reason says it.
        """
        sampling = self.order.sampling
        if sampling.guide is Guide.NONE or self.guard is None or self.reason != FinishReason.STOP:
            return None
        return self.guard.complaint(self.text)

    def finished(self, model: str) -> Finished:
        """
        Return the end of the answer, which has a reason.
        """
        if self.reason is None or self._first is None:
            raise ValueError(f"{self.order.id} has not ended")
        check = None if self.guard is None else copy_check(self.order, self.reason, self.text)
        confidence = self._confidence(invented=check is not None and not check.copied)
        return Finished(
            id=self.order.id,
            model=model,
            reason=self.reason,
            prompt_tokens=len(self.prompt),
            cached_tokens=self.cached,
            answer_tokens=len(self.ids),
            confidence=confidence,
            confidence_source=None if confidence is None else source_of(self._map, model),
            tool_calls=self._parts.tool_calls,
            reasoning=self._parts.reasoning,
            copied=None if check is None else check.copied,
            invented=() if check is None else check.invented,
            seconds_to_first=self._first - self._began,
            seconds=time.monotonic() - self._began,
        )

    def _confidence(self, *, invented: bool) -> float | None:
        """Return how likely the answer is right; None if the model computed no numbers."""
        likelihood = self._likely.likelihood()
        if likelihood is None:
            return None
        if self._map is None:
            return likelihood.probability
        stopped = self.reason is not FinishReason.LENGTH
        return self._map.confidence(Ending(likelihood, self._n_refused, stopped, invented))
