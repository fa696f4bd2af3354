"""
A checkpoint: the whole state of a run at one step, as safetensors and JSON.

Saving has two parts. ``snapshot_state`` copies what the next optimizer step changes;
training stands still meanwhile, and the copy takes as much host memory as the trained
state. ``write_checkpoint`` writes that copy and may run on another thread, since it
touches no tensor that is trained. A checkpoint is built under another name, hashed,
synced and renamed: it is there whole or not at all. Does not know threads, nor when
to save, nor which checkpoints to keep (checkpoint_folder.py).
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path

import orjson
import torch
from safetensors.torch import load_file, save_file

from finetuned.errors import ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.manifest import verify_manifest, write_manifest
from finetuned.model.tensors import disk_errors
from finetuned.training.optimizer import Parameters, Tensors, named_state
from finetuned.training.progress import Progress
from finetuned.training.random_state import rng_tensors
from finetuned.training.sharded import whole

WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"
RNG = "rng.safetensors"
STATE = "state.json"
PREFIX = "checkpoint-"

PINNED_BYTES = 2**30
"""
Largest state that is copied from a GPU through page-locked memory. Page-locked memory is
faster, but torch keeps it for the next snapshot and the host cannot swap it out.
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A copy of a run's state at one step, in host memory that training does not touch.
    """

    weights: Tensors
    """Trained parameters by name."""
    optimizer: Tensors
    """Adam's state, named as optimizer_tensors names it."""
    rng: Tensors
    """As rng_tensors returns it."""
    progress: Progress


def snapshot_state(
    parameters: Parameters, optimizer: torch.optim.Optimizer, progress: Progress
) -> Snapshot:
    """
    Copy the state of a run.

    Call it between two steps, on the thread that trains. Of a sharded model, every
    process calls it: the parts are gathered.

    Args:
        parameters: Trained parameters by name.
        optimizer: Their optimizer.
        progress: Position of the job; copied too.

    Returns:
        Copies that share no memory with the arguments.

    Raises:
        ModelError: As rng_tensors; nothing was changed.
    """
    weights = {f"weights/{name}": whole(p.detach()) for name, p in parameters.items()}
    state = {f"state/{key}": t for key, t in named_state(optimizer, parameters).items()}
    copies = _copies({**weights, **state})
    return Snapshot(
        {name: copies[f"weights/{name}"] for name in parameters},
        {key.removeprefix("state/"): copies[key] for key in state},
        rng_tensors(),
        copy.deepcopy(progress),
    )


def _copies(tensors: Tensors) -> Tensors:
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


def write_checkpoint(folder: Path, snapshot: Snapshot) -> Path:
    """
    Write ``checkpoint-<job_step>`` into *folder*, whole and durable.

    One writer per folder at a time: two would build under the same name.

    Args:
        folder: ``checkpoints/`` of the run; made if missing.
        snapshot: The state to write; not changed.

    Returns:
        The finished checkpoint. One of the same step that exists already is kept.

    Raises:
        OSError: The file system refused; every earlier checkpoint is untouched.
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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """
    A checkpoint that was read back, every hash checked.
    """

    path: Path
    snapshot: Snapshot

    @property
    def progress(self) -> Progress:
        """Position of the job."""
        return self.snapshot.progress


def load_checkpoint(path: Path) -> Checkpoint:
    """
    Read a checkpoint back after checking every byte against its manifest.

    Raises:
        ModelError: It is incomplete or damaged; nothing was loaded.
        OSError: The file system refused.
    """
    verify_manifest(path)
    try:
        progress = Progress(**orjson.loads((path / STATE).read_bytes()))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path / STATE}: not the state of a checkpoint: {error}") from error
    with disk_errors():
        weights, optimizer = load_file(path / WEIGHTS), load_file(path / OPTIMIZER)
        return Checkpoint(path, Snapshot(weights, optimizer, load_file(path / RNG), progress))
