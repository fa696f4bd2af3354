"""
outcome.json in the folder of a trial: how it ended. It is there once the trial is over.

Written before Optuna is told, so that a kill between the two costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from finetuned.core.record import from_json, to_json
from finetuned.core.tuning.trial import TrialState
from finetuned.errors import RecordError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """
    What became of one training of a study.
    """

    identity: str
    """Digest of everything that decides the result: rows, start, settings, seed."""
    state: TrialState
    loss: float | None = None
    """Held-out loss at its end, in nats per token; None unless it is done."""
    loss_before: float | None = None
    """The same of the start."""
    old_loss: float | None = None
    """On held-out rows of earlier files; None if there are none."""
    old_loss_before: float | None = None
    steps: int = 0
    planned_steps: int = 0
    seconds: float = 0.0
    """In optimizer steps."""
    looks: tuple[tuple[int, float], ...] = ()
    """Stage and held-out loss of each look."""
    note: str = ""

    @property
    def forgetting(self) -> float | None:
        """How much the loss on earlier rows rose, in nats per token; None if there are none."""
        if self.old_loss is None or self.old_loss_before is None:
            return None
        return self.old_loss - self.old_loss_before


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """
    Write it, durably.

    Raises:
        OSError: The file system refused.
    """
    write_atomic(folder / OUTCOME, orjson.dumps(to_json(outcome), option=orjson.OPT_INDENT_2))


def read_outcome(folder: Path, identity: str | None = None) -> Outcome | None:
    """
    Return how a trial ended, None if it is not over, or if it is one of another *identity*.
    """
    value = read_json(folder / OUTCOME)
    if value is None:
        return None
    try:
        found = from_json(Outcome, value, source=folder / OUTCOME)
    except RecordError:
        return None  # of another version of the program: it is trained again
    return found if identity in (None, found.identity) else None
