"""
How a job computes its loss: with the kernels of its lineage if they are right, else chosen anew.

All processes of a run make the same choice. Does not know how kernels work
(loss/kernels.py), and does not store the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from finetuned.config import ModelConfig, TrainingConfig
from finetuned.files.rank import world
from finetuned.loss.candidates import candidates, has_fast_bfloat16
from finetuned.loss.kernels import Choice, choose, first_right
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import SHARING, Kernels, SupervisedLM
from finetuned.training import processes


def precision_is_open(parameters: Iterable[torch.nn.Parameter], config: ModelConfig) -> bool:
    """
    Whether the matrix products may use another type: float32 weights that nobody asked for.
    """
    return config.dtype == "auto" and next(iter(parameters)).dtype == torch.float32


def recall(
    model: SupervisedLM, training: TrainingConfig, kernels: str, precision: str
) -> Choice | None:
    """
    Set *model* to the kernels of before, and return that choice.

    They are checked again; if they compute something else by now, the next candidate that
    is right is taken.

    Args:
        model: In training mode.
        training: Of the job.
        kernels: str() of the Kernels of before; "" if there are none.
        precision: Type of their matrix products, as Choice.precision.

    Returns:
        None if these kernels are no candidate here: on another device, with gradient
        checkpointing switched on or off, or with another training.kernels.
    """
    known, possible = Kernels.parse(kernels), _candidates(model, training)
    if known not in possible:
        return None
    # Kernels that share nothing were chosen because every better candidate was refused.
    # These are checked again first, for the reason may be gone.
    better = possible[: possible.index(known)] if known.prefix not in SHARING else []
    rest = [kernels for kernels in possible if kernels not in (*better, known)]
    choice = first_right(model, [*better, known, *rest], agree=_all_agree)
    choice.evidence = "kept from the job before"
    choice.autocast = getattr(torch, precision) if precision else None
    return choice


def choose_afresh(
    model: SupervisedLM,
    training: TrainingConfig,
    *,
    typical: Sequence[MaskedTokens],
    may_autocast: bool,
    on_progress: Callable[[], None],
    job_rows: int | None = None,
    known: Choice | None = None,
) -> Choice:
    """
    Return the fastest of the candidates that are right; arguments as kernels.choose.

    Several processes time nothing, because their clocks would not agree: they take the
    first candidate that is right in all of them.
    """
    if world() > 1:
        choice = first_right(model, _candidates(model, training), agree=_all_agree)
        choice.evidence = "not timed: several processes take the first way that is right in all"
        if may_autocast and model.device.type == "cuda" and has_fast_bfloat16(model.device):
            choice.autocast = torch.bfloat16
        return choice
    return choose(
        model,
        typical,
        prefix=training.kernels,
        may_autocast=may_autocast,
        on_progress=on_progress,
        job_rows=job_rows,
        known=known,
    )


def _candidates(model: SupervisedLM, training: TrainingConfig) -> list[Kernels]:
    return candidates(model.lm, model.device, prefix=training.kernels)


def _all_agree(right: bool) -> bool:
    """Whether *right* is true in every process."""
    return processes.lowest(int(right)) == 1
