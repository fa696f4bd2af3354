"""
The model of a live worker, kept with its optimizer from one run to the next.

The next file of a stream goes on from the version that the last one became: then
nothing is loaded. If it goes on from another version of the same shape, only adapter
and moments are read. Does not know plans, checkpoints or the supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from finetuned.config import Config, TrainingConfig
from finetuned.files.manifest import verify_manifest
from finetuned.files.model_manifest import read_model_manifest
from finetuned.layout import MANIFEST
from finetuned.loss.fused_lora import fuse_lora
from finetuned.loss.kernels import Choice
from finetuned.loss.supervised import Kernels, SupervisedLM
from finetuned.model.load import load_adapter_weights, load_for_training, trainable_parameters
from finetuned.training import sharded
from finetuned.training.checkpoint import Snapshot, snapshot_state
from finetuned.training.optimizer import (
    Parameters,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
)
from finetuned.training.parent_state import ParentState, load_parent_state
from finetuned.training.progress import Progress

Shape = tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class OptimizerOrigin:
    """
    Where the moments come from that a run begins with.
    """

    text: str
    """For people: the status shows it."""
    reset_reason: str | None = None
    """Why a run that has a parent begins without its moments; None if that is not so."""


@dataclass
class LoadedModel:
    """
    A model ready to train, with its optimizer.
    """

    shape: Shape
    """Everything that must be equal for another run to use this model."""
    model: SupervisedLM
    parameters: Parameters
    optimizer: torch.optim.Optimizer
    device: torch.device
    """Where it trains; between runs it may be moved to host memory."""
    choice: Choice | None = None
    """How the loss is computed; None before the first run has chosen it."""
    holds_run: str | None = None
    """The run whose candidate has exactly these weights and moments; None while training."""

    def move(self, device: torch.device) -> None:
        """
        Move parameters and moments; the parameters stay the same objects.
        """
        self.model.to(device)
        for moments in self.optimizer.state.values():
            for name, value in moments.items():
                moments[name] = value.to(device)

    def spread(self, training: TrainingConfig) -> None:
        """
        Shard model and moments if the launch file asks for it; parameters become other objects.

        Raises:
            ConfigError: As sharded.shard.
        """
        if not sharded.asked():
            return
        moments = optimizer_tensors(self.optimizer, self.parameters)
        sharded.shard(self.model)
        self.parameters = trainable_parameters(self.model.model)
        self.optimizer = make_optimizer(self.parameters, training)
        restore_optimizer(self.optimizer, self.parameters, moments)

    def gathered(self, progress: Progress) -> Snapshot | None:
        """
        Return the whole state of a sharded model, in every process; None if it is not sharded.
        """
        if not sharded.asked():
            return None
        return snapshot_state(self.parameters, self.optimizer, progress)


class ModelKeeper:
    """
    Gives each run its model: the kept one if that is exactly right, else a loaded one.
    """

    def __init__(self) -> None:
        self._kept: LoadedModel | None = None

    def get(
        self, base: Path, parent: Path | None, config: Config, *, pad_token_id: int
    ) -> tuple[LoadedModel, ParentState, OptimizerOrigin]:
        """
        Return the model that a run begins with, its parent's state, and the moments' origin.

        Args:
            base: Directory of the base model.
            parent: Folder of the version to go on from; None starts a lineage.
            config: Of the run.
            pad_token_id: Fills rows on the right.

        Raises:
            ConfigError: As load_for_training.
            CorruptFile: Base or parent is a version whose files were changed.
            ModelError: The parent, or its training state, cannot be used.
        """
        shape = _shape(base, config, pad_token_id)
        kept, self._kept = self._kept, None  # an error below leaves no model behind
        for version in (parent, base):  # a base may be a version too
            if version is not None and (version / MANIFEST).is_file():
                verify_manifest(version)
        state = ParentState() if parent is None else load_parent_state(parent)
        if kept is not None and parent is not None and kept.shape == shape:
            origin = _reuse(kept, state, parent, config.training)
            if origin is not None:
                self._kept = kept
                return kept, state, origin
        del kept  # its memory is needed for the model that is loaded now
        self._kept = _load(shape, base, parent, config, pad_token_id)
        return self._kept, state, _put_moments(self._kept, state, parent)

    def drop(self) -> None:
        """
        Release the kept model.
        """
        self._kept = None

    def now_holds(self, run_id: str) -> None:
        """
        Note that weights and moments are exactly those of the candidate of *run_id*.
        """
        if self._kept is not None:
            self._kept.holds_run = run_id

    def rest(self) -> None:
        """
        Move the model off the GPU, whose memory another process needs now.
        """
        if self._kept is not None and self._kept.device.type == "cuda":
            self._kept.move(torch.device("cpu"))
            torch.cuda.empty_cache()


def _shape(base: Path, config: Config, pad_token_id: int) -> Shape:
    model, training = config.model, config.training
    return (
        str(base),
        *(model.dtype, model.device),
        *(training.method, training.r, training.lora_alpha, training.lora_dropout),
        *(training.target_modules, training.gradient_checkpointing, training.kernels),
        pad_token_id,
    )


def _reuse(
    kept: LoadedModel, state: ParentState, parent: Path, training: TrainingConfig
) -> OptimizerOrigin | None:
    """Make *kept* go on from *parent*; return None, changing nothing, if it must be loaded."""
    run_id = read_model_manifest(parent).run_id
    is_parent = kept.holds_run is not None and run_id == kept.holds_run
    if not is_parent and not (parent / "adapter_config.json").is_file():
        return None
    if kept.model.device != kept.device:
        kept.move(kept.device)
    if is_parent:
        optimizer = make_optimizer(kept.parameters, training)
        optimizer.state.update(kept.optimizer.state)
        kept.optimizer, kept.holds_run = optimizer, None
        return OptimizerOrigin(f"continued in memory from {parent.name}")
    load_adapter_weights(kept.model.model, parent)
    kept.optimizer, kept.holds_run = make_optimizer(kept.parameters, training), None
    return _put_moments(kept, state, parent)


def _load(
    shape: Shape, base: Path, parent: Path | None, config: Config, pad_token_id: int
) -> LoadedModel:
    training = config.training
    # A parent that is the base itself was consolidated: it gets a fresh adapter.
    on_top = None if parent == base and training.method != "full" else parent
    model = load_for_training(base, on_top, config.model, training)
    fuse_lora(model)
    kernels = Kernels("stock", model.config._attn_implementation)
    supervised = SupervisedLM(model, kernels, pad_token_id=pad_token_id)
    supervised.train()
    parameters = trainable_parameters(model)
    optimizer = make_optimizer(parameters, training)
    return LoadedModel(shape, supervised, parameters, optimizer, supervised.device)


def _put_moments(loaded: LoadedModel, state: ParentState, parent: Path | None) -> OptimizerOrigin:
    """Put the parent's moments in place; an incomplete set is an error, never a reset."""
    if parent is None:
        return OptimizerOrigin("fresh: first job on the base model")
    if state.optimizer is None:
        reason = state.optimizer_reset or f"{parent.name} has no training state"
        return OptimizerOrigin(f"reset: {reason}", reason)
    restore_optimizer(loaded.optimizer, loaded.parameters, state.optimizer)
    return OptimizerOrigin(f"continued from {parent.name}")
