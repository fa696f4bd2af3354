"""
Ways of computing the loss, timed in turns on rows of the job until one is clearly best.

Does not know which ways are right, nor the rule that judges (core/fastest_way.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from finetuned.core.fastest_way import MOST_TURNS, Judgement, evidence, judge, tokens_a_turn
from finetuned.loss.micro_batch import MaskedTokens, shared_length
from finetuned.loss.supervised import Kernels, SupervisedLM


@dataclass(frozen=True, slots=True)
class Way:
    """
    One way of computing the loss.
    """

    kernels: Kernels
    precision: torch.dtype | None
    """Of the matrix products; None is that of the weights."""

    def __str__(self) -> str:
        return f"{self.kernels} {str(self.precision or 'as loaded').removeprefix('torch.')}"

    @property
    def short(self) -> str:
        """As the log names it, where every word of it could be another."""
        head = "" if self.kernels.head == "chunked" else f"/{self.kernels.head}"
        precision = "" if self.precision is None else f" in {str(self.precision)[len('torch.') :]}"
        return f"{self.kernels.prefix}/{self.kernels.attention}{head}{precision}"


@dataclass(frozen=True, slots=True)
class Timed:
    """
    The best of some ways, and how they were seen.
    """

    way: Way
    is_clear: bool
    """Whether more turns would change nothing."""
    evidence: str
    """One line for people."""
    seconds: dict[str, list[float]]
    """Forward and backward of each turn that counts, by str() of the way."""
    refused: dict[str, str]
    """Why a way could not be timed."""


class WayTimer:
    """
    Times ways on a model whose gradients and random state the caller restores.
    """

    def __init__(
        self,
        model: SupervisedLM,
        rows: Sequence[MaskedTokens],
        *,
        seconds_per_token: float,
        on_progress: Callable[[], None],
    ) -> None:
        """
        Args:
            model: In training mode.
            rows: A typical micro-batch of the job, >= 1 row; it is cut to the time there is.
            seconds_per_token: Of forward and backward, about, > 0; better too much than too little.
            on_progress: Called between turns; what it raises ends the timing.
        """
        self._model = model
        self._rows = rows
        self._on_progress = on_progress
        self.seconds_per_token = seconds_per_token
        """Corrected by what was timed."""

    @property
    def seconds_of_rows(self) -> float:
        """How long the whole micro-batch takes, about."""
        return self.seconds_per_token * _computed(self._rows)

    def fastest(self, ways: Sequence[Way], *, seconds: float) -> Timed:
        """
        Time *ways* in turns for at most *seconds*, and return the best of them.

        Without the time for a few turns of at least two rows nothing is timed, and the first
        way is taken. A turn begins only if the longest so far would end in time.

        Args:
            ways: At least one, those with fewer operations first.
            seconds: From now on.
        """
        until = time.monotonic() + seconds
        refused: dict[str, str] = {}
        turns: dict[Way, list[float]] = {way: [] for way in ways}
        judged = judge(list(turns.values()))
        tokens = tokens_a_turn(seconds, ways=len(ways), seconds_per_token=self.seconds_per_token)
        if len(ways) > 1 and (rows := self._as_many(tokens)):
            judged = self._take_turns(turns, refused, rows, until)
        if not turns:  # none can be timed; the rehearsal finds a size that fits
            return Timed(ways[0], True, f"{ways[0].short}: none could be timed", {}, refused)
        names = [way.short for way in turns]
        return Timed(
            list(turns)[judged.chosen],
            judged.is_clear or len(turns) == 1,
            evidence(names, list(turns.values()), judged),
            {str(way): seen for way, seen in turns.items() if seen},
            refused,
        )

    def correct(self, way: Way, *, seconds: float) -> None:
        """
        Measure seconds_per_token on as many of the rows as *seconds* are enough for, if any.

        The first guess is from short rows and a cold start, and too high.
        """
        rows = self._as_many(int(seconds / (2 * self.seconds_per_token)))
        if not rows:
            return
        try:
            self._seconds(way, rows)
            self.seconds_per_token = self._seconds(way, rows) / _computed(rows)
        except Exception:  # its turn will say why
            self._model.zero_grad(set_to_none=True)

    def _as_many(self, tokens: int) -> list[MaskedTokens]:
        """Return as many of the rows as have *tokens*; none if two of them have more."""
        for n in range(len(self._rows), min(2, len(self._rows)) - 1, -1):
            if _computed(self._rows[:n]) <= tokens:
                return list(self._rows[:n])
        return []

    def _take_turns(
        self,
        turns: dict[Way, list[float]],
        refused: dict[str, str],
        rows: Sequence[MaskedTokens],
        until: float,
    ) -> Judgement:
        """Fill *turns*, from which ways are taken out that fail; the first turn does not count."""
        longest = dict.fromkeys(turns, 0.0)
        waiting = list(turns)
        for turn in range(MOST_TURNS + 1):
            for way in waiting if turn % 2 else waiting[::-1]:
                if time.monotonic() + longest[way] > until:
                    return judge(list(turns.values()))
                try:
                    seconds = self._seconds(way, rows)
                except Exception as error:  # for example: not enough memory for rows of the job
                    refused[str(way)] = f"{type(error).__name__}: {error}"[:300]
                    del turns[way]
                    self._model.zero_grad(set_to_none=True)
                else:
                    longest[way] = max(longest[way], seconds)
                    if turn:
                        turns[way].append(seconds)
                self._on_progress()
            if len(turns) < 2:
                break
            every, judged = list(turns), judge(list(turns.values()))
            if judged.is_clear:
                break
            waiting = [every[i] for i in judged.open]
        return judge(list(turns.values()))

    def _seconds(self, way: Way, rows: Sequence[MaskedTokens]) -> float:
        """Return the wall time of forward and backward of one micro-batch."""
        model = self._model
        model.kernels, model.autocast = way.kernels, way.precision
        _synchronize(model.device)
        began = time.perf_counter()
        model(rows).backward()
        _synchronize(model.device)
        seconds = time.perf_counter() - began
        model.zero_grad(set_to_none=True)
        return seconds


def _computed(rows: Sequence[MaskedTokens]) -> int:
    """Return the tokens that are computed for *rows*, a shared beginning once."""
    shared = shared_length(rows)
    return shared + sum(len(ids) - shared for ids, _ in rows)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
