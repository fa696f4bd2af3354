"""
The choice of the way to compute the loss: right for this model, and fastest on this machine.

Every candidate is first compared with the model's own loss and gradients on a few short
rows; one that differs or fails is refused, with the reason. The others are timed on rows
of the job. Does not know jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import torch

from finetuned.loss.candidates import candidates, has_fast_bfloat16
from finetuned.loss.kernel_check import refusal
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM

_TIMED: Final = 3
"""Times that each way is timed; the fastest counts."""
_TIMED_SECONDS: Final = 20.0
"""After this long no further turn begins; a large model is timed once."""

Way = tuple[Kernels, torch.dtype | None]
"""Kernels, and the precision of the matrix products; None is that of the weights."""


@dataclass
class Choice:
    """
    The chosen way, and what was seen of all candidates.
    """

    kernels: Kernels
    autocast: torch.dtype | None
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of forward and backward of one micro-batch, by candidate."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reason of each refused candidate."""

    @property
    def precision(self) -> str:
        """The precision of the matrix products if it differs from that of the weights, else ""."""
        return "" if self.autocast is None else str(self.autocast).removeprefix("torch.")


def choose(
    model: SupervisedLM,
    rows: Sequence[MaskedTokens],
    *,
    prefix: str,
    may_autocast: bool,
    on_progress: Callable[[], None],
) -> Choice:
    """
    Check and time the candidates on *model*, and leave it set to the best.

    Parameters, gradients and random state are not changed.

    Args:
        model: In training mode.
        rows: A typical micro-batch of the job, >= 1 row.
        prefix: training.kernels.
        may_autocast: Whether bfloat16 may be tried for weights of float32.
        on_progress: Called between candidates.

    Returns:
        The choice; timings are empty if there was only one candidate.
    """
    choice = Choice(model.kernels, None)
    precisions: list[torch.dtype | None] = [None]
    if may_autocast and has_fast_bfloat16(model.device):
        precisions.append(torch.bfloat16)
    with _aside(model):
        right = _right_ones(model, prefix, choice, on_progress)
        choice.kernels = right[0]
        if len(right) + len(precisions) > 2:
            # Precisions are compared on the chosen kernels: no combination is used untimed.
            ways = [(kernels, None) for kernels in right]
            choice.kernels = _fastest(model, ways, rows, choice, on_progress)[0]
            both = [(choice.kernels, precision) for precision in precisions]
            choice.autocast = _fastest(model, both, rows, choice, on_progress)[1]
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


def _fastest(
    model: SupervisedLM,
    ways: Sequence[Way],
    rows: Sequence[MaskedTokens],
    choice: Choice,
    on_progress: Callable[[], None],
) -> Way:
    """
    Time *ways* in turns, so that other load on the machine affects all of them alike.

    Times and refusals are noted in *choice*; the first way wins if none can be timed.
    """
    if len(ways) == 1:
        return ways[0]
    began = time.monotonic()
    best: dict[str, float] = {}
    for turn in range(_TIMED):
        if turn and time.monotonic() - began > _TIMED_SECONDS:
            break
        for way in ways:
            name = _name(*way)
            if name in choice.refused:
                continue
            try:
                seconds = round(_seconds(model, *way, rows), 5)
            except Exception as error:  # for example: not enough memory for rows of the job
                choice.refused[name] = f"{type(error).__name__}: {error}"[:300]
                best.pop(name, None)
                model.zero_grad(set_to_none=True)
            else:
                best[name] = min(seconds, best.get(name, seconds))
            on_progress()
    choice.timings |= best
    return min(ways, key=lambda way: best.get(_name(*way), float("inf")))


def _name(kernels: Kernels, precision: torch.dtype | None) -> str:
    return f"{kernels} {str(precision or 'as loaded').removeprefix('torch.')}"


def _seconds(
    model: SupervisedLM,
    kernels: Kernels,
    precision: torch.dtype | None,
    rows: Sequence[MaskedTokens],
) -> float:
    """Return the wall time of forward and backward of one micro-batch."""
    model.kernels, model.autocast = kernels, precision
    _synchronize(model.device)
    began = time.perf_counter()
    model(rows).backward()
    _synchronize(model.device)
    seconds = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    return seconds


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
