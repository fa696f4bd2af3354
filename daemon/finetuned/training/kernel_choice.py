"""
How a job computes its loss: as its lineage did where that is right here, else chosen afresh.

Every process of a run comes to the same. Does not know how a way works, nor keeps
the choice.
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
    Whether the precision is ours to choose: float32 weights that nobody asked for.
    """
    return config.dtype == "auto" and next(iter(parameters)).dtype == torch.float32


def recall(
    model: SupervisedLM, training: TrainingConfig, kernels: str, precision: str
) -> Choice | None:
    """
    Return the choice to go on as before, or None where that way is not offered here.

    It may not be: another device, gradient checkpointing switched on or off, another
    training.kernels. Offered but wrong by now, the next right way is taken.

    Args:
        model: In training mode; set to the choice.
        training: Of the job.
        kernels: str() of the Kernels it was; "" for nothing known.
        precision: Of its matrix products, as Choice.precision.
    """
    known, ways = Kernels.parse(kernels), _ways(model, training)
    if known not in ways:
        return None
    # The plain ways were for a model that could do no better: refused once, the better ones
    # are looked at again and likely refused again.
    first = ways[: ways.index(known)] if known.prefix not in SHARING else []
    rest = [way for way in ways if way not in (*first, known)]
    choice = first_right(model, [*first, known, *rest], agree=_agree)
    choice.autocast = getattr(torch, precision) if precision else None
    return choice


def choose_afresh(
    model: SupervisedLM,
    training: TrainingConfig,
    *,
    typical: Sequence[MaskedTokens],
    may_autocast: bool,
    on_progress: Callable[[], None],
) -> Choice:
    """
    Return the best of the ways that are right; arguments as kernels.choose.

    Several processes time nothing, for their clocks would not agree: they take the
    first way that is right in all of them.
    """
    if world() > 1:
        choice = first_right(model, _ways(model, training), agree=_agree)
        if may_autocast and model.device.type == "cuda" and has_fast_bfloat16(model.device):
            choice.autocast = torch.bfloat16
        return choice
    return choose(
        model,
        typical,
        prefix=training.kernels,
        may_autocast=may_autocast,
        on_progress=on_progress,
    )


def _ways(model: SupervisedLM, training: TrainingConfig) -> list[Kernels]:
    return candidates(model.lm, model.device, prefix=training.kernels)


def _agree(right: bool) -> bool:
    """A way of computing is right where it is right in every process."""
    return processes.lowest(int(right)) == 1
