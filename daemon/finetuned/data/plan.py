"""
The order in which examples are trained, decided before training starts.

A plan is a pure function of lengths, batch size, epochs and seed, so a run
that resumes computes the same plan and goes on at the same step. Does not
know tokens, models or files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WINDOW_BATCHES = 32
"""Examples are sorted by length within this many micro-batches: little padding, still shuffled."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Optimizer steps, each a list of micro-batches, each a list of example numbers.
    """

    steps: list[list[list[int]]]

    @property
    def digest(self) -> str:
        """16 hex digits that tell two plans apart; kept in every checkpoint."""
        text = repr(self.steps).encode()
        return hashlib.sha256(text).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.steps)


def plan_batches(
    lengths: npt.NDArray[np.integer],
    *,
    batch_size: int,
    accumulation: int,
    epochs: int,
    seed: int,
) -> Plan:
    """
    Plan every example of a job exactly once per epoch.

    Args:
        lengths: Tokens per example, shape (N,), N > 0.
        batch_size: Examples in a micro-batch, >= 1; the last one of an epoch may be smaller.
        accumulation: Micro-batches in an optimizer step, >= 1; the last may have fewer.
        epochs: Passes over the examples, >= 1.
        seed: Same seed, same plan.

    Returns:
        At least one step.

    Raises:
        ValueError: There is no example.
    """
    if len(lengths) == 0:
        raise ValueError("no example to plan")
    rng = np.random.Generator(np.random.PCG64(seed))
    batches: list[list[int]] = []
    for _ in range(epochs):
        order = rng.permutation(len(lengths))
        epoch: list[list[int]] = []
        window = batch_size * _WINDOW_BATCHES
        for start in range(0, len(order), window):
            chunk = order[start : start + window]
            chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
            epoch += [chunk[i : i + batch_size].tolist() for i in range(0, len(chunk), batch_size)]
        batches += [epoch[i] for i in rng.permutation(len(epoch))]
    steps = [batches[i : i + accumulation] for i in range(0, len(batches), accumulation)]
    return Plan(steps)
