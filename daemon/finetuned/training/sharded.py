"""
One model spread over the processes of a run: FSDP2 as the launch file describes it.

accelerate shards the model before the Trainer sees it, so that parameters and
optimizer are the same objects from then on; the Trainer is told that the model owns
its placement, and wraps it no further. That works on CPU and CUDA alike.

Each process keeps a part of every weight and moment, and gathers a layer when it
computes with it. Parameters are then DTensors: what is written must be gathered
first (``whole``), what is read must be cut (``part_of``). ``whole`` is an exchange,
so all processes call it for the same tensors in the same order. Does not know
checkpoints, jobs or the Trainer.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from finetuned.errors import ConfigError
from finetuned.loss.supervised import SupervisedLM

_MUST_BE = {
    "FSDP_VERSION": ("2", "fsdp_version"),
    "FSDP_CPU_RAM_EFFICIENT_LOADING": ("false", "fsdp_cpu_ram_efficient_loading"),
    "FSDP_OFFLOAD_PARAMS": ("false", "fsdp_offload_params"),
    "FSDP_ACTIVATION_CHECKPOINTING": ("false", "fsdp_activation_checkpointing"),
}
"""What the launch file may say: each other value of these was not tried, or cannot work."""


_LAUNCHED = "ACCELERATE_USE_FSDP"
_OURS = "FINETUNED_USE_FSDP"


def asked() -> bool:
    """
    Whether this run's launch file asks for FSDP.
    """
    return "true" in (os.environ.get(_LAUNCHED, "").lower(), os.environ.get(_OURS))


def take_over() -> None:
    """
    Take FSDP out of the Trainer's hands, after a look at what the launch file asks for.

    Raises:
        ConfigError: It is not supported; the message names the key and its only value.
    """
    for variable, (only, key) in _MUST_BE.items():
        found = os.environ.get(variable, only).lower()
        if found != only:
            raise ConfigError(
                f"training.accelerate_config says {key}: {found}; FSDP is supported with "
                f"{key}: {only} only, see docs/how-to/train-on-several-gpus.md"
            )
    os.environ.pop(_LAUNCHED, None)
    os.environ[_OURS] = "true"


def shard(model: SupervisedLM) -> None:
    """
    Spread *model*, which every process has whole, over all of them.

    Its parameters become other objects; whoever holds the old ones holds the whole model.

    Raises:
        ConfigError: The launch file names no layer class that the model has.
    """
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model
    from torch.distributed.fsdp import register_fsdp_forward_method

    device: Any = model.device
    accelerator = Accelerator(cpu=device.type == "cpu")
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()  # reads the launch file's
    try:
        fsdp2_prepare_model(accelerator, model)
    except ValueError as error:
        raise ConfigError(
            f"training.accelerate_config: {error}; set fsdp_transformer_layer_cls_to_wrap to the "
            f"model's layer class, one of {getattr(model.lm, '_no_split_modules', None)}"
        ) from error
    # Held-out rows are scored without a forward() of the whole.
    register_fsdp_forward_method(model, "row_losses")
    model.is_distributed_loading_by_transformers = True  # type: ignore[assignment]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """
    Return *tensor* itself, or all of it where this process holds a part: an exchange then.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """
    Return a copy of *tensor* as *parameter* is: on its device, and its part where it is one.
    """
    moved = tensor.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return moved.clone()
    mesh, places = parameter.device_mesh, parameter.placements
    return distribute_tensor(moved, mesh, places, src_data_rank=None).clone()
