"""
The model, its optimizer and what they hold, kept by a live worker from run to run.

The next file of a stream goes on from the version that the last one became: then
nothing is loaded. When it goes on from another version of the same shape, only
adapter and moments are read. Does not know plans, checkpoints or the supervisor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finetuned.config import Config, TrainingConfig
from finetuned.files.manifest import read_manifest, verify_manifest
from finetuned.layout import MANIFEST
from finetuned.loss.fused_lora import fuse_lora
from finetuned.loss.kernels import Choice
from finetuned.loss.supervised import Kernels, SupervisedLM
from finetuned.model.load import load_adapter_weights, load_for_training, trainable_parameters
from finetuned.training import sharded
from finetuned.training.candidate import ParentState, load_parent_state
from finetuned.training.checkpoint import (
    Progress,
    Snapshot,
    optimizer_tensors,
    restore_optimizer,
    snapshot_state,
)
from finetuned.training.trainer import make_optimizer

Parameters = dict[str, torch.nn.Parameter]


@dataclass
class LoadedModel:
    """
    A model ready to train.
    """

    shape: tuple[Any, ...]
    """What must be equal for another run to use it."""
    model: SupervisedLM
    parameters: Parameters
    optimizer: torch.optim.Optimizer
    device: torch.device
    """Where it trains; between runs it may rest in host memory."""
    choice: Choice | None = None
    """How the loss is computed, once that was found out."""
    holds_run: str | None = None
    """The run whose candidate weights and moments are exactly these; None while training."""

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
        Shard model and moments if the run is to; the parameters become other objects then.

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
        Return the whole state of a sharded model, in every process; None where it is whole.
        """
        if not sharded.asked():
            return None
        return snapshot_state(self.parameters, self.optimizer, progress)


class ModelKeeper:
    """
    Gives each run its model, from memory where that is exact.
    """

    def __init__(self) -> None:
        self._kept: LoadedModel | None = None

    def get(
        self, base: Path, parent: Path | None, config: Config, *, pad_token_id: int
    ) -> tuple[LoadedModel, ParentState, str]:
        """
        Return the model a run starts from, its parent's state, and where the optimizer came from.

        Args:
            base: Directory of the base model.
            parent: Folder of the version to go on from; None starts a lineage.
            config: Of the run.
            pad_token_id: Fills rows on the right.

        Raises:
            ConfigError: As load_for_training.
            ModelError: The parent, or its training state, cannot be used.
        """
        training = config.training
        shape = (
            str(base),
            *(config.model.dtype, config.model.device),
            *(training.method, training.r, training.lora_alpha, training.lora_dropout),
            *(
                training.target_modules,
                training.gradient_checkpointing,
                training.kernels,
                pad_token_id,
            ),
        )
        kept, self._kept = self._kept, None
        for part in (parent, base):  # a base may be a version of its own
            if part is not None and (part / MANIFEST).is_file():
                verify_manifest(part)  # what is damaged is refused before a byte of it is used
        state = ParentState() if parent is None else load_parent_state(parent)
        if kept is not None and kept.shape == shape and parent is not None:
            run_id = read_manifest(parent).get("run_id")
            if kept.model.device != kept.device:
                kept.move(kept.device)
            if kept.holds_run is not None and run_id == kept.holds_run:
                optimizer = make_optimizer(kept.parameters, training)
                optimizer.state.update(kept.optimizer.state)
                kept.optimizer, kept.holds_run = optimizer, None
                self._kept = kept
                return kept, state, f"continued in memory from {parent.name}"
            if (parent / "adapter_config.json").is_file():
                load_adapter_weights(kept.model.model, parent)
                kept.optimizer, kept.holds_run = make_optimizer(kept.parameters, training), None
                self._kept = kept
                return kept, state, _continue(kept, state, parent)
        del kept  # the old one goes before the new one comes
        # A parent that is the base itself was consolidated: a fresh adapter goes on it.
        on_top = None if parent == base and training.method != "full" else parent
        model = load_for_training(base, on_top, config.model, training)
        fuse_lora(model)
        kernels = Kernels("stock", model.config._attn_implementation)
        supervised = SupervisedLM(model, kernels, pad_token_id=pad_token_id)
        supervised.train()
        parameters = trainable_parameters(model)
        optimizer = make_optimizer(parameters, training)
        self._kept = LoadedModel(shape, supervised, parameters, optimizer, supervised.device)
        return self._kept, state, _continue(self._kept, state, parent)

    def drop(self) -> None:
        """
        Let the kept model go.
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
        Leave the device, whose memory another process needs now.
        """
        if self._kept is not None and self._kept.device.type == "cuda":
            self._kept.move(torch.device("cpu"))
            torch.cuda.empty_cache()


def _continue(loaded: LoadedModel, state: ParentState, parent: Path | None) -> str:
    """Put the parent's moments in place, and say where they came from."""
    if parent is None:
        return "fresh: first job on the base model"
    if state.optimizer is None:
        return f"reset: {state.optimizer_reset or f'{parent.name} has no training state'}"
    # Moments for a part of the parameters stop the run: never a silent reset.
    restore_optimizer(loaded.optimizer, loaded.parameters, state.optimizer)
    return f"continued from {parent.name}"
