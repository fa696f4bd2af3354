"""
One trial of a study, and what the trials of a study show together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from finetuned.core.tuning.space import Settings


class TrialState(StrEnum):
    """
    What became of a trial.
    """

    WAITING = "waiting"  # its settings are chosen, nothing is trained yet
    RUNNING = "running"
    DONE = "done"  # trained to its end and scored
    PRUNED = "pruned"  # ended early, since others were better at the same stage
    FAILED = "failed"  # its worker failed
    RESTARTED = "restarted"  # its process ended in the middle; another trial goes on with it


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """
    A trial as the table and the page show it.
    """

    number: int
    state: TrialState
    origin: str
    """Where its settings come from: "search", "today", or the study that found them."""
    settings: Settings
    loss: float | None = None
    """Held-out loss at its end, in nats per token; None unless it is done."""
    forgetting: float | None = None
    """
    How much the loss on held-out rows of earlier files rose, in nats per token; None if there
    are no earlier files.
    """
    steps: int = 0
    """Optimizer steps that were made."""
    planned_steps: int = 0
    seconds: float = 0.0
    looks: tuple[tuple[int, float], ...] = ()
    """Stage (1 to looks.LOOKS) and held-out loss of each look."""
    folder: int | None = None
    """The trial in whose folder it was begun, if another process began it; None for its own."""
    note: str = ""
    """Why it failed, or at which stage it was pruned."""


def done(trials: Iterable[Trial]) -> list[Trial]:
    """
    Return the trials that were trained to their end, the lowest held-out loss first.
    """
    found = [t for t in trials if t.state is TrialState.DONE and t.loss is not None]
    return sorted(found, key=lambda t: (t.loss or 0.0, t.number))


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """
    Return the trials that no other beats in both held-out loss and forgetting.

    The lowest loss comes first. Without earlier files nothing can be forgotten: the front is
    then the trial with the lowest loss.
    """
    front: list[Trial] = []
    for trial in sorted(done(trials), key=lambda t: (t.loss or 0.0, t.forgetting or 0.0, t.number)):
        if not front or (trial.forgetting or 0.0) < (front[-1].forgetting or 0.0):
            front.append(trial)
    return front


def finalists(trials: Iterable[Trial], most: int) -> list[Trial]:
    """
    Return the trials that are asked for the gate's evidence, the lowest held-out loss first.

    Those of the Pareto front come before others.

    Args:
        trials: All of the study.
        most: >= 1.
    """
    listed = list(trials)
    front = pareto_front(listed)
    others = [trial for trial in done(listed) if trial not in front]
    chosen = [*front, *others][:most]
    return sorted(chosen, key=lambda t: (t.loss or 0.0, t.number))


def steps_until(trials: Sequence[Trial], loss: float) -> int | None:
    """
    Return how many optimizer steps a study made until a trial ended with *loss* or below.

    Args:
        trials: In the order in which they ran, one after another.
        loss: In nats per token.

    Returns:
        None if no trial did.
    """
    made = 0
    for trial in trials:
        made += trial.steps
        if trial.state is TrialState.DONE and trial.loss is not None and trial.loss <= loss:
            return made
    return None
