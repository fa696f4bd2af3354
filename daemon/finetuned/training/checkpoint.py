"""
The whole state of a run on disk: safetensors and JSON, never a pickle.

A stock Trainer checkpoint holds four pickles and is written in place. Ours is
built aside, hashed, synced and renamed, so it is there whole or not at all,
and it is loaded once before the one before it goes.

Saving has two parts. ``snapshot_state`` copies what the next optimizer step will
change and holds training up for as long as that takes, at the price of one more
copy of the trained state in host memory; ``write_checkpoint`` touches no live
tensor and may run on another thread. Does not know threads or when to save.
"""

from __future__ import annotations

import copy
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors.torch import load_file, save_file

from finetuned.errors import ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.manifest import verify_manifest, write_manifest
from finetuned.model.tensors import disk_errors
from finetuned.training.sharded import part_of, whole

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
RNG = "rng.safetensors"
STATE = "state.json"
PREFIX = "checkpoint-"
PINNED_BYTES = 1 << 30
"""
Up to so much is copied from a GPU into page-locked memory, which is faster and which
torch keeps for the next snapshot; more than that is too much to take from the host.
"""
"""How safetensors and torch end the text of an error that the operating system gave them."""

Parameters = dict[str, torch.nn.Parameter]


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far a job is. What a resumed run needs to go on where the last one ended.
    """

    job_step: int
    """Optimizer steps of this job that are in the weights, >= 0."""
    lineage_step: int
    """Optimizer steps of the whole lineage, this job included, >= job_step."""
    plan_digest: str
    """Digest of the plan that job_step counts in."""
    totals: dict[str, float]
    """Running sums of the job: seconds, tokens, evals ..."""
    warm_up_began: int = 0
    """Lineage step at which the warm-up of this job's stream began, 0 to lineage_step."""
    warm_up_steps: int = 0
    """Its length in optimizer steps, >= 0. 0 also in a checkpoint from before this was kept."""
    precision: str = ""
    """What matrix products are computed in where that is not the weights' type, as "bfloat16"."""
    kernels: str = ""
    """Model.Kernels.prefix that the job computes its loss with; "" where nothing was decided."""
    early_stop: dict[str, Any] | None = None
    """State of early stopping (``EarlyStop.as_dict``); None where it is off."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    The state of a run at one step, in host memory of its own: training may go on.
    """

    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    rng: dict[str, torch.Tensor]
    progress: Progress

    @property
    def n_bytes(self) -> int:
        """Host memory it takes, in bytes."""
        parts = (self.weights, self.optimizer, self.rng)
        return sum(t.nbytes for part in parts for t in part.values())


def _optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Parameters
) -> dict[str, torch.Tensor]:
    return {
        f"{key}/{name}": whole(torch.as_tensor(value).detach())
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Parameters
) -> dict[str, torch.Tensor]:
    """
    Return Adam's state as named tensors: ``exp_avg/<parameter>``, ``step/<parameter>`` ...
    """
    state = _optimizer_state(optimizer, parameters)
    return {name: tensor.cpu().contiguous() for name, tensor in state.items()}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Parameters, tensors: dict[str, torch.Tensor]
) -> None:
    """
    Put saved state back, and refuse to go on with a part of it.

    Raises:
        ModelError: State of some parameter is missing, or belongs to none, or has
            another shape: an optimizer that was silently reset is the ancestor's
            worst bug.
    """
    state: dict[str, dict[str, torch.Tensor]] = {name: {} for name in parameters}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            raise ModelError(f"optimizer state for unknown parameter {name}")
        if kind != "step" and tensor.shape != parameters[name].shape:
            raise ModelError(f"optimizer state {key} has shape {tuple(tensor.shape)}")
        state[name][kind] = tensor
    missing = [name for name, kinds in state.items() if not {"exp_avg", "step"} <= kinds.keys()]
    if missing:
        raise ModelError(f"no optimizer state for {len(missing)} parameters, first {missing[0]}")
    for name, parameter in parameters.items():
        optimizer.state[parameter] = {
            kind: t.clone() if kind == "step" else part_of(parameter, t)
            for kind, t in state[name].items()
        }


def rng_tensors() -> dict[str, torch.Tensor]:
    """
    Return the state of every generator that training may draw from.
    """
    tensors = {"torch_cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"torch_cuda_{i}"] = state
    version, words, gauss = random.getstate()
    if version != 3 or gauss is not None:
        raise ModelError(f"unknown state of Python's generator: version {version}")
    tensors["python"] = torch.tensor(words, dtype=torch.int64)
    kind, keys, position, has_gauss, cached = np.random.get_state()
    tensors["numpy_keys"] = torch.from_numpy(np.asarray(keys, dtype=np.int64).copy())
    tensors["numpy_rest"] = torch.tensor(
        [float(position), float(has_gauss), float(cached)], dtype=torch.float64
    )
    if kind != "MT19937":
        raise ModelError(f"unknown numpy generator {kind}")
    return tensors


def restore_rng(tensors: dict[str, torch.Tensor]) -> None:
    """
    Put every generator back to a saved state.
    """
    torch.set_rng_state(tensors["torch_cpu"].to(torch.uint8))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"torch_cuda_{i}" in tensors:
                torch.cuda.set_rng_state(tensors[f"torch_cuda_{i}"].to(torch.uint8), i)
    random.setstate((3, tuple(tensors["python"].tolist()), None))
    position, has_gauss, cached = tensors["numpy_rest"].tolist()
    np.random.set_state(
        (
            "MT19937",
            tensors["numpy_keys"].numpy().astype(np.uint32),
            int(position),
            int(has_gauss),
            cached,
        )
    )


def _copies(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy every tensor into host memory; on CUDA all copies are under way at once."""
    n_bytes = sum(t.nbytes for t in tensors.values() if t.is_cuda)
    pinned = 0 < n_bytes <= PINNED_BYTES
    copies = {
        name: torch.empty(
            tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned and tensor.is_cuda
        ).copy_(tensor, non_blocking=pinned and tensor.is_cuda)
        for name, tensor in tensors.items()
    }
    if pinned:
        for device in {t.device for t in tensors.values() if t.is_cuda}:
            torch.cuda.synchronize(device)
    return copies


def snapshot_state(
    parameters: Parameters, optimizer: torch.optim.Optimizer, progress: Progress
) -> Snapshot:
    """
    Copy the state of a run out of reach of the next optimizer step.

    Call it between two steps, on the thread that trains: this is the stall.

    Args:
        parameters: What is trained, by name.
        optimizer: Its Adam state is kept by parameter name.
        progress: Where the run is.

    Returns:
        Copies that share no memory with the model, the optimizer or *progress*.

    Raises:
        ModelError: A random generator is of an unknown kind; nothing was changed.
    """
    weights = {f"weights/{name}": whole(p.detach()) for name, p in parameters.items()}
    state = {f"state/{key}": t for key, t in _optimizer_state(optimizer, parameters).items()}
    copies = _copies({**weights, **state})
    return Snapshot(
        {name: copies[f"weights/{name}"] for name in parameters},
        {key.removeprefix("state/"): copies[key] for key in state},
        rng_tensors(),
        copy.deepcopy(progress),
    )


def write_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """
    Write ``checkpoint-<job_step>`` into *folder*, whole and durable.

    One writer per folder at a time: two would build in the same place.

    Args:
        folder: ``checkpoints/`` of the run; made when missing.
        snapshot: What to write; it is only read.

    Returns:
        The finished checkpoint; one of the same step that is there already stays.

    Raises:
        OSError: The disk refused; every earlier checkpoint is untouched.
    """
    step = snapshot.progress.job_step
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"{PREFIX}{step}"
    building = folder / f".building-{step}"
    shutil.rmtree(building, ignore_errors=True)
    if final.exists():
        return final
    building.mkdir()
    try:
        with disk_errors():
            save_file(snapshot.weights, building / WEIGHTS)
            save_file(snapshot.optimizer, building / OPTIMIZER)
            save_file(snapshot.rng, building / RNG)
        (building / STATE).write_bytes(orjson.dumps(snapshot.progress))
        write_manifest(building, {"kind": "checkpoint", "job_step": step})
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return final


def save_checkpoint(
    folder: Path,
    *,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> Path:
    """
    Snapshot the run and write it at once; training stands still meanwhile.

    Args:
        folder: ``checkpoints/`` of the run; made when missing.
        parameters: What is trained, by name.
        optimizer: Its Adam state is saved by parameter name.
        progress: Where the run is.

    Returns:
        The finished checkpoint.

    Raises:
        OSError: The disk refused; every earlier checkpoint is untouched.
    """
    return write_checkpoint(folder, snapshot_state(parameters, optimizer, progress))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    A checkpoint read back, every hash checked.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    rng: dict[str, torch.Tensor]
    progress: Progress


def load_checkpoint(path: Path) -> Checkpoint:
    """
    Read a checkpoint back after checking every byte against its manifest.

    Raises:
        ModelError: It is incomplete or corrupt; nothing was loaded.
        OSError: The disk refused.
    """
    verify_manifest(path)
    state = orjson.loads((path / STATE).read_bytes())
    with disk_errors():
        return Checkpoint(
            path,
            load_file(path / WEIGHTS),
            load_file(path / OPTIMIZER),
            load_file(path / RNG),
            Progress(**state),
        )
