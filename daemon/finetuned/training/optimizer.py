"""
AdamW and its learning rate: made, written out by parameter name, and put back.

Parameters are addressed by name everywhere, so that moments reach the next job, or
the next process, whatever order a library lists parameters in. Does not know files.
"""

from __future__ import annotations

import torch

from finetuned.config import TrainingConfig
from finetuned.core.learning_rate import WarmUp, rate_factor
from finetuned.errors import ModelError
from finetuned.training.sharded import part_of, whole

Parameters = dict[str, torch.nn.Parameter]
"""Trained parameters by name, in a fixed order."""

Tensors = dict[str, torch.Tensor]
"""Tensors by name, as a safetensors file holds them."""


def make_optimizer(parameters: Parameters, config: TrainingConfig) -> torch.optim.Optimizer:
    """
    Return AdamW over *parameters*, in their order, with its moments allocated.

    AdamW itself allocates moments, all zero, at the first step. Allocated here, they
    are part of the checkpoint of step 0, and memory that does not suffice for them
    shows before training.
    """
    optimizer = torch.optim.AdamW(
        list(parameters.values()),
        lr=config.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=config.weight_decay,
        fused=True,
    )
    for parameter in parameters.values():
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    *,
    warm_up: WarmUp,
    lineage_step: int,
    job_step: int,
    total_steps: int,
) -> torch.optim.lr_scheduler.LambdaLR:
    """
    Return the schedule of the learning rate for the steps that are left.

    The rate is a function of the position alone (core.learning_rate.rate_factor), so a
    resumed run has at each step the rate of an uninterrupted one.

    Args:
        optimizer: The optimizer whose rate is set.
        config: learning_rate and lr_scheduler_type.
        warm_up: The warm-up of the lineage.
        lineage_step: Optimizer steps of the lineage so far, >= 0.
        job_step: Those of them that belong to this job, >= 0.
        total_steps: Optimizer steps of the whole job, > 0.
    """

    def factor(step: int) -> float:
        return rate_factor(
            config.lr_scheduler_type,
            lineage_step=lineage_step + step,
            warm_up=warm_up,
            job_step=min(job_step + step, total_steps),
            total_steps=total_steps,
        )

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def named_state(optimizer: torch.optim.Optimizer, parameters: Parameters) -> Tensors:
    """
    Return Adam's state as named tensors: ``exp_avg/<parameter>``, ``step/<parameter>`` ...

    They share memory with the optimizer, except for parts of a sharded model: these are
    gathered, which is an exchange of all processes.
    """
    return {
        f"{key}/{name}": whole(torch.as_tensor(value).detach())
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer, parameters: Parameters) -> Tensors:
    """
    Return ``named_state`` on the CPU and contiguous, as safetensors asks for it.
    """
    state = named_state(optimizer, parameters)
    return {name: tensor.cpu().contiguous() for name, tensor in state.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Parameters, tensors: Tensors
) -> None:
    """
    Put the state back that ``optimizer_tensors`` returned: all of it, or an error.

    Raises:
        ModelError: The state of a parameter is missing, belongs to no parameter or has
            another shape; the optimizer is unchanged.
    """
    state = _by_parameter(parameters, tensors)
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {
            kind: t.clone() if kind == "step" else part_of(parameter, t)
            for kind, t in state[name].items()
        }


def _by_parameter(parameters: Parameters, tensors: Tensors) -> dict[str, Tensors]:
    """Sort saved state by parameter name, and check that it is whole."""
    state: dict[str, Tensors] = {name: {} for name in parameters}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            raise ModelError(f"optimizer state for unknown parameter {name}")
        if kind != "step" and tensor.shape != parameters[name].shape:
            raise ModelError(
                f"optimizer state {key} has shape {tuple(tensor.shape)}, "
                f"its parameter has {tuple(parameters[name].shape)}"
            )
        state[name][kind] = tensor
    missing = [name for name, kinds in state.items() if not {"exp_avg", "step"} <= kinds.keys()]
    if missing:
        raise ModelError(f"no optimizer state for {len(missing)} parameters, first {missing[0]}")
    return state
