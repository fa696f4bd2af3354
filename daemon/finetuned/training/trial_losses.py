"""
What a trial of a search learnt and forgot: held-out losses before its first step and after.

Written into the candidate's manifest if the spec asks for it, so that no second process has
to load the model. Does not know the search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from finetuned.training.job import Job
from finetuned.training.scored_rows import scorers_of

MAX_ROWS: Final = 256
"""Most rows of the job, and of earlier jobs, that are scored: a loss that trials differ by."""


@dataclass(frozen=True, slots=True)
class HeldOutLosses:
    """
    Nats per supervised token; None if nothing is held out.
    """

    new: float | None
    """On held-out rows of the job."""
    old: float | None
    """On held-out rows of what its parent has learnt."""


def held_out_losses(job: Job) -> HeldOutLosses | None:
    """
    Return the losses of the model as it is now, None unless the spec asks for them.

    Every process of the run calls it, and gets the same.
    """
    if not job.spec.held_out_losses:
        return None
    new, old = scorers_of(job, most=MAX_ROWS)
    return HeldOutLosses(
        new=None if new is None else new.loss(), old=None if old is None else old.loss()
    )
