"""
A model that is spread over the processes of a run: FSDP2, as the launch file describes it.

accelerate shards the model before the Trainer gets it, so that parameters and optimizer
stay the same objects; a mark on the model keeps the Trainer from wrapping it again. That
works on CPU and CUDA alike.

Each process keeps a part of every weight and moment, and gathers a layer while it
computes with it. Parameters are DTensors then: to be written a tensor must be gathered
(``whole``), to be read it must be cut (``part_of``). ``whole`` is an exchange, so all
processes call it for the same tensors in the same order. Does not know checkpoints,
jobs or the Trainer.
"""

from __future__ import annotations

import os

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
"""The only supported values of the launch file, by variable, with the key that sets each."""

_LAUNCHED = "ACCELERATE_USE_FSDP"
"""Set by accelerate launch; the Trainer reads it too."""

_OURS = "FINETUNED_USE_FSDP"
"""Set by take_over in its place."""


def asked() -> bool:
    """
    Whether this run's launch file asks for FSDP.
    """
    return "true" in (os.environ.get(_LAUNCHED, "").lower(), os.environ.get(_OURS))


def take_over() -> None:
    """
    Check what the launch file asks for, and hide it from the Trainer, which would shard too.

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
    Spread *model*, which every process holds whole, over all of them.

    Its parameters become other objects. A reference to the old ones keeps the whole model
    in memory.

    Raises:
        ConfigError: The launch file names no layer class that the model has.
    """
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model
    from torch.distributed.fsdp import register_fsdp_forward_method

    accelerator = Accelerator(cpu=model.device.type == "cpu")
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()  # from the launch file
    try:
        fsdp2_prepare_model(accelerator, model)
    except ValueError as error:
        raise ConfigError(
            f"training.accelerate_config: {error}; set fsdp_transformer_layer_cls_to_wrap to the "
            f"model's layer class, one of {getattr(model.lm, '_no_split_modules', None)}"
        ) from error
    # Held-out rows are scored by this method, which must gather layers as forward() does.
    register_fsdp_forward_method(model, "row_losses")
    model.is_distributed_loading_by_transformers = True  # type: ignore[assignment]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """
    Return *tensor* itself, or all of it if this process holds a part, which is an exchange.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(parameter: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """
    Return a copy of *tensor* on the device of *parameter*; of a DTensor, this process's part.
    """
    moved = tensor.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return moved.clone()
    mesh, places = parameter.device_mesh, parameter.placements
    return distribute_tensor(moved, mesh, places, src_data_rank=None).clone()
