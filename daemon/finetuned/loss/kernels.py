"""
The choice of the way to compute the loss: right for this model, and fastest on this machine.

Every candidate is first compared with the model's own loss and gradients on a few short
rows; one that differs or fails is refused, with the reason. The others are timed on rows
of the job (kernel_timing.py). Does not know jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median

import torch

from finetuned.core.fastest_way import seconds_to_look
from finetuned.loss.candidates import candidates, has_fast_bfloat16
from finetuned.loss.kernel_check import CHECKED_TOKENS, refusal
from finetuned.loss.kernel_timing import Timed, Way, WayTimer
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM


@dataclass
class Choice:
    """
    The chosen way, and what was seen of all candidates.
    """

    kernels: Kernels
    autocast: torch.dtype | None
    turns: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of forward and backward of one micro-batch, turn by turn, by candidate."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reason of each refused candidate."""
    is_close: bool = False
    """Whether another way may be as fast or faster, so that a later job looks again."""
    evidence: str = ""
    """Why these, in one line for people."""

    @property
    def precision(self) -> str:
        """The precision of the matrix products if it differs from that of the weights, else ""."""
        return "" if self.autocast is None else str(self.autocast).removeprefix("torch.")

    @property
    def timings(self) -> dict[str, float]:
        """The median of the seconds of each candidate that was timed."""
        return {name: round(median(seconds), 6) for name, seconds in self.turns.items()}

    def note(self, timed: Timed) -> None:
        """
        Take the best of *timed*, and keep what was seen.
        """
        self.kernels, self.autocast = timed.way.kernels, timed.way.precision
        self.turns |= timed.seconds
        self.refused |= timed.refused
        self.is_close = self.is_close or not timed.is_clear
        self.evidence = "; then ".join(filter(None, (self.evidence, timed.evidence)))


@dataclass(frozen=True, slots=True)
class _Look:
    """
    One look at the ways, of kernels and then of precisions; each may take half of its time.
    """

    timer: WayTimer
    n_rows: int
    """Rows of the timer."""
    job_rows: int | None
    again: bool
    """Whether there is an earlier choice."""

    def at(self, choice: Choice, ways: Sequence[Way], before: Way | None) -> None:
        """
        Put the best of *ways* into *choice*, with what was seen; nothing if there is only one.

        Args:
            choice: Of this look so far.
            ways: Those with fewer operations first.
            before: The earlier choice among them.
        """
        if len(ways) < 2:
            return
        if not choice.turns:
            self.timer.correct(ways[0], seconds=self._seconds() / 10)
        timed = self.timer.fastest(ways, seconds=self._seconds())
        if (
            not timed.seconds
            and before is not None
            and before in ways
            and str(before) not in timed.refused
        ):
            text = f"{before.short}: kept from the job before, there is no time to look again"
            timed = replace(timed, way=before, evidence=text)
        choice.note(timed)

    def _seconds(self) -> float:
        rows = self.job_rows
        job = None if rows is None else self.timer.seconds_of_rows * rows / self.n_rows
        return seconds_to_look(job, again=self.again) / 2


def choose(
    model: SupervisedLM,
    rows: Sequence[MaskedTokens],
    *,
    prefix: str,
    may_autocast: bool,
    on_progress: Callable[[], None],
    job_rows: int | None = None,
    known: Choice | None = None,
) -> Choice:
    """
    Check and time the candidates on *model*, and leave it set to the best.

    Parameters, gradients and random state are not changed.

    Args:
        model: In training mode.
        rows: A typical micro-batch of the job, >= 1 row.
        prefix: training.kernels.
        may_autocast: Whether bfloat16 may be tried for weights of float32.
        on_progress: Called between candidates and turns; what it raises ends the choice.
        job_rows: Rows that the job trains, which bounds the time that timing may take
            (core/fastest_way.py); None allows the most.
        known: An earlier choice that was close; it stays in what there is no time to time again.

    Returns:
        The choice; turns are empty if there was only one candidate, or no time.
    """
    choice = Choice(model.kernels, None)
    precisions: list[torch.dtype | None] = [None]
    if may_autocast and has_fast_bfloat16(model.device):
        precisions.append(torch.bfloat16)
    with _aside(model):
        began = time.perf_counter()
        right = _right_ones(model, prefix, choice, on_progress)
        per_check = (time.perf_counter() - began) / (len(right) + len(choice.refused))
        choice.kernels = right[0]
        if len(right) + len(precisions) > 2:
            timer = WayTimer(
                model, rows, seconds_per_token=per_check / CHECKED_TOKENS, on_progress=on_progress
            )
            look = _Look(timer, len(rows), job_rows, again=known is not None)
            before = None if known is None else Way(known.kernels, None)
            look.at(choice, [Way(kernels, None) for kernels in right], before)
            # Precisions are compared on the chosen kernels: no combination is used untimed.
            before = None if known is None else Way(choice.kernels, known.autocast)
            look.at(choice, [Way(choice.kernels, p) for p in precisions], before)
        else:
            choice.evidence = f"{Way(right[0], None).short}: the only way here"
    model.kernels, model.autocast = choice.kernels, choice.autocast
    return choice


def first_right(
    model: SupervisedLM, ways: Sequence[Kernels], *, agree: Callable[[bool], bool]
) -> Choice:
    """
    Take the first of *ways* that is right, without timing, and leave *model* set to it.

    Args:
        model: In training mode.
        ways: From candidates(); the last, the model's own way, is always right.
        agree: Turns the verdict of this process into that of all; called once per checked way.
    """
    refused: dict[str, str] = {}
    with _aside(model):
        for kernels in ways:
            reason = refusal(model, kernels)
            if agree(reason is None):
                break
            refused[str(kernels)] = reason or "refused by another process"
    model.kernels, model.autocast = kernels, None
    return Choice(kernels, None, refused=refused)


def _right_ones(
    model: SupervisedLM, prefix: str, choice: Choice, on_progress: Callable[[], None]
) -> list[Kernels]:
    """Return the candidates that are right, at least one; note the others in *choice*."""
    right: list[Kernels] = []
    for kernels in candidates(model.lm, model.device, prefix=prefix):
        if kernels.prefix in ("none", "stock") and right:
            break  # the plain ways are for models that cannot share a prefix
        reason = refusal(model, kernels)
        on_progress()
        if reason is None:
            right.append(kernels)
        else:
            choice.refused[str(kernels)] = reason
    return right


@contextmanager
def _aside(model: SupervisedLM) -> Iterator[None]:
    """Restore random state and gradients after the block."""
    before = [(p, p.grad) for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    with torch.random.fork_rng(enabled=True):
        try:
            yield
        finally:
            for parameter, gradient in before:
                parameter.grad = gradient
