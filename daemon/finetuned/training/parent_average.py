"""
How much of its change a job keeps: weights between its parent's and its own, chosen by loss.

A job that goes on from a version ends on w = parent + a * (trained - parent). Of a few
shares a the one with the lowest held-out loss is taken: the mean of the loss on the job's
own held-out rows and that on rows of earlier jobs, so that what is new counts as much as all
that is known. A short job ends somewhere beside the minimum that it circles, and a mean with
where it began lies nearer to it; a job that teaches something new keeps all of its change.
The optimizer's moments stay as they are: they estimate gradients, not weights.

Sources: the mean of fast and slow weights, Lookahead (arXiv 1907.08610); a share chosen by
held-out rows, WiSE-FT (arXiv 2109.01903).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch

from finetuned.errors import Interrupted
from finetuned.training import processes, sharded
from finetuned.training.job import Job
from finetuned.training.optimizer import Parameters
from finetuned.training.scored_rows import scorers_of

SHARES: Final = (1.0, 0.75, 0.5, 0.25)
"""What is tried; of two with the same loss the first is taken."""

MAX_QUESTIONS: Final = 32
"""Most held-out rows of the job, and of earlier jobs, that are scored for each share."""

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class KeptShare:
    """
    What a job kept of its change, and the evidence.
    """

    share: float
    """Above 0, at most 1."""
    losses: dict[float, float]
    """Held-out loss in nats per token, by share."""


def parent_weights(job: Job) -> dict[str, torch.Tensor] | None:
    """
    Return a copy of the weights that the job begins with, None if it will keep all it learns.

    That is so without a parent, for a full model (a second one may not fit), for one that is
    sharded over processes, and if ``training.average`` is off.
    """
    training = job.spec.config.training
    if job.spec.parent is None or not training.average or training.method == "full":
        return None
    return None if sharded.asked() else _copy(job.loaded.parameters)


def keep_best_share(job: Job, parent: Weights) -> KeptShare | None:
    """
    Set the model to the weights between *parent* and its own that have the lowest loss.

    Every process of the run calls it, and takes the same.

    Args:
        job: Trained to its end.
        parent: As parent_weights returned them.

    Returns:
        What was kept; None, with the weights as they are, if nothing is held out.

    Raises:
        Interrupted: A stop was asked for; the next run of the job goes on from its checkpoint.
    """
    scorers = [s for s in scorers_of(job, most=MAX_QUESTIONS) if s is not None]
    if not scorers:
        return None
    trained, losses = _copy(job.loaded.parameters), dict[float, float]()
    for share in SHARES:
        _set(job.loaded.parameters, parent, trained, share)
        losses[share] = sum(scorer.loss() for scorer in scorers) / len(scorers)
        job.heartbeat.beat()
        if processes.any_of(job.lifeline.stopping):
            raise Interrupted(f"stopped before the candidate was saved: {job.lifeline.cause}")
    best = min(SHARES, key=losses.__getitem__)
    _set(job.loaded.parameters, parent, trained, best)
    return KeptShare(best, losses)


def _copy(parameters: Parameters) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _set(parameters: Parameters, parent: Weights, trained: Weights, share: float) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.lerp(parent[name], trained[name], share))
