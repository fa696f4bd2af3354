"""
Which requests run: those that wait join between two passes, as far as the memory goes.

First come, first served, over all models; a request that waits for memory is not overtaken.
Each pass is followed by a look at what was cancelled or is late. Writes reports; does not
know sockets, or how models are loaded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import torch

from finetuned.core.generation import (
    Embed,
    Embedded,
    EngineSettings,
    Failed,
    FailureKind,
    Generate,
    Report,
)
from finetuned.serving.engine.answer import RunningAnswer
from finetuned.serving.engine.batch import slots_of
from finetuned.serving.engine.served import Refused, Served

log = structlog.get_logger()

_PROMPT_TOKENS: Final = 4096
"""Most prompt tokens that join before one pass: more would keep the running ones waiting."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """
    A request and the model that answers it, whatever is held later.
    """

    answer: RunningAnswer
    served: Served


class Scheduler:
    """
    The requests of one engine.
    """

    def __init__(self, settings: EngineSettings, write: Callable[[Report], None]) -> None:
        """
        Args:
            settings: Of the engine.
            write: Takes each report, in order.
        """
        self._settings = settings
        self._write = write
        self._waiting: deque[_Entry] = deque()
        self._running: dict[str, _Entry] = {}
        self._joined = False
        """Whether the step before let requests join."""

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that are not begun."""
        return len(self._waiting)

    @property
    def cache_limit(self) -> int:
        """Most bytes for keys and values of running requests; the rest is for kept prompts."""
        return self._settings.kv_bytes * 3 // 4

    def uses(self, served: Served) -> bool:
        """
        Return whether a request waits for this model or runs on it.
        """
        return any(e.served is served for e in (*self._waiting, *self._running.values()))

    def reserved_bytes(self, joining: Sequence[_Entry] = ()) -> int:
        """
        Return the most bytes of keys and values that running requests and *joining* may need.
        """
        slots: dict[Served, list[RunningAnswer]] = {}
        for entry in (*self._running.values(), *joining):
            slots.setdefault(entry.served, []).append(entry.answer)
        return sum(s.slot_bytes * slots_of(answers) for s, answers in slots.items())

    def submit(self, order: Generate, served: Served | None) -> None:
        """
        Take a request, or refuse it.
        """
        try:
            if served is None:
                raise _no_model(order.model)
            entry = _Entry(served.begin(order), served)
            self._refuse_what_never_fits(entry)
        except Refused as error:
            kind = FailureKind.TOO_LONG if error.too_long else FailureKind.BAD_REQUEST
            kind = FailureKind.NO_MODEL if error.field == "model" else kind
            self._write(Failed(id=order.id, kind=kind, message=str(error), field=error.field))
            return
        self._waiting.append(entry)

    def embed(self, order: Embed, served: Served | None) -> None:
        """
        Answer an Embed at once.
        """
        if served is None:
            message = str(_no_model(order.model))
            self._write(
                Failed(id=order.id, kind=FailureKind.NO_MODEL, message=message, field="model")
            )
            return
        texts = [served.text_ids(text) for text in order.texts]
        longest = max((len(ids) for ids in texts), default=0)
        if longest > served.positions or not all(texts):
            message = (
                f"a text has {longest} tokens, and {served.name} reads 1 to {served.positions}"
                if longest > served.positions
                else "a text is empty"
            )
            kind = FailureKind.TOO_LONG if longest > served.positions else FailureKind.BAD_REQUEST
            self._write(Failed(id=order.id, kind=kind, message=message, field="input"))
            return
        with torch.inference_mode():
            vectors = tuple(tuple(served.lm.mean_hidden(ids)) for ids in texts)
        self._write(
            Embedded(
                id=order.id,
                model=served.name,
                vectors=vectors,
                prompt_tokens=sum(len(ids) for ids in texts),
            )
        )

    def cancel(self, request: str) -> None:
        """
        End a request that nobody waits for; harmless if it has ended.
        """
        for entry in (*self._waiting, *self._running.values()):
            if entry.answer.order.id == request:
                self._end(entry, FailureKind.CANCELLED, "cancelled by the client")
                return

    def step(self) -> bool:
        """
        Let those that wait join, or give every running request its next tokens.

        What joins has its first token, which is reported before anything else is computed.

        Returns:
            Whether there is more to do.
        """
        self._end_late()
        with torch.inference_mode():
            # Those that run have their turn at least every second time.
            begun = {} if self._joined and self._running else self._admit()
            self._joined = bool(begun)
            for served, joining in begun.items():
                self._guarded(served, partial(_join, served, joining))
            if not begun:
                for served in dict.fromkeys(e.served for e in self._running.values()):
                    self._guarded(served, served.batch.step)
        return bool(self._running or self._waiting)

    def end_all(self, message: str) -> None:
        """
        End every request, because the engine ends.
        """
        for entry in (*self._waiting, *self._running.values()):
            self._end(entry, FailureKind.STOPPED, message)

    def _refuse_what_never_fits(self, entry: _Entry) -> None:
        needed = slots_of([entry.answer]) * entry.served.slot_bytes
        if needed > self.cache_limit:
            raise Refused(
                f"prompt and answer of {entry.answer.slots} tokens need {needed} bytes of keys "
                f"and values, and there are {self.cache_limit}; shorten the prompt, lower "
                "max_tokens, or raise serving.kv_bytes",
                "max_tokens",
                too_long=True,
            )

    def _admit(self) -> dict[Served, list[RunningAnswer]]:
        """Move what may begin now from the waiting to the running; return it by model."""
        begun: dict[Served, list[RunningAnswer]] = {}
        tokens = 0
        while self._waiting and len(self._running) < self._settings.max_running:
            entry = self._waiting[0]
            tokens += len(entry.answer.prompt)
            if begun and tokens > _PROMPT_TOKENS:
                break
            if self.reserved_bytes([entry]) > self.cache_limit:
                break
            self._waiting.popleft()
            self._running[entry.answer.order.id] = entry
            begun.setdefault(entry.served, []).append(entry.answer)
        return begun

    def _guarded(self, served: Served, work: Callable[[], Sequence[RunningAnswer]]) -> None:
        """
        Do *work* on one model and report what it gave.

        An error in it, such as memory that ran out, ends the requests of that model only.
        """
        try:
            for answer in work():
                self._report(answer, served)
        except Exception as error:
            log.exception("serving_pass_failed", model=served.name)
            served.batch.clear()
            for entry in [e for e in self._running.values() if e.served is served]:
                self._end(entry, FailureKind.ENGINE, f"the engine failed: {error!s:.300}")

    def _report(self, answer: RunningAnswer, served: Served) -> None:
        piece = answer.piece()
        if piece is not None:
            self._write(piece)
        if answer.reason is None:
            return
        del self._running[answer.order.id]
        complaint = answer.complaint()
        if complaint is None:
            self._write(answer.finished(served.name))
            return
        self._write(
            Failed(
                id=answer.order.id,
                kind=FailureKind.ENGINE,
                message=f"the answer is not what it was held to: {complaint}",
            )
        )

    def _end_late(self) -> None:
        for entry in [*self._waiting, *self._running.values()]:
            if entry.answer.is_late():
                seconds = entry.answer.order.seconds
                self._end(
                    entry, FailureKind.DEADLINE, f"the answer was not whole after {seconds:g} s"
                )

    def _end(self, entry: _Entry, kind: FailureKind, message: str) -> None:
        """End a request before its answer is whole."""
        if entry in self._waiting:
            self._waiting.remove(entry)
        if self._running.pop(entry.answer.order.id, None) is not None:
            entry.served.batch.drop([entry.answer])
        self._write(Failed(id=entry.answer.order.id, kind=kind, message=message))


def _join(served: Served, joining: Sequence[RunningAnswer]) -> Sequence[RunningAnswer]:
    served.batch.join(joining)
    return joining


def _no_model(name: str) -> Refused:
    return Refused(f"no model {name!r} is held", "model")
