"""
What a finished run leaves behind: a folder that can become a version.

It loads with ``PeftModel.from_pretrained(base, folder)`` (or as a full model),
brings its tokenizer and template, and under ``training_state/`` the optimizer
that the next job goes on with. Does not know whether it is any good.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import load_file, save_file

from finetuned.config import Config
from finetuned.core.learning_rate import Mix, WarmUp
from finetuned.data.replay import Reservoir
from finetuned.errors import ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.manifest import write_manifest
from finetuned.files.run import CANDIDATE, utc_now
from finetuned.files.spec import TrainingSpec
from finetuned.model.tensors import disk_errors
from finetuned.training.callbacks import RunState
from finetuned.training.checkpoint import (
    OPTIMIZER,
    STATE,
    Parameters,
    Progress,
    Snapshot,
    optimizer_tensors,
)
from finetuned.training.rows import JobRows

TRAINING_STATE = "training_state"
REPLAY = "replay"
"""Under it: a sample of all rows that the lineage has learnt, this job's included."""

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "generation_config.json",
)


def save_candidate(
    run_dir: Path,
    *,
    model: Any,
    base: Path,
    parameters: Parameters,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    mix: Mix,
    replay: Reservoir,
    facts: dict[str, Any],
    gathered: Snapshot | None = None,
) -> Path:
    """
    Write ``candidate/`` in the run folder, whole and durable, manifest last.

    Args:
        run_dir: The run.
        model: The trained model, adapter or full.
        base: Whose tokenizer and template it was trained with.
        parameters: What was trained, by name.
        optimizer: Its state goes along.
        progress: Steps, sums and warm-up.
        mix: What the job was trained on, as configured.
        replay: The sample that the next job replays from.
        facts: What else the manifest has to say (job, datasets, parent ...).
        gathered: Weights and moments of a model that is spread over processes.

    Raises:
        OSError: The disk refused; there is no candidate.
    """
    final = run_dir / CANDIDATE
    if final.exists():
        return final
    building = run_dir / f".building-{CANDIDATE}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        with disk_errors():
            weights = {"state_dict": gathered.weights} if gathered else {}
            model.save_pretrained(building, safe_serialization=True, **weights)
        (building / "README.md").unlink(missing_ok=True)  # peft's empty model card
        copy_tokenizer(base, building)
        state = building / TRAINING_STATE
        state.mkdir()
        with disk_errors():
            moments = gathered.optimizer if gathered else optimizer_tensors(optimizer, parameters)
            save_file(moments, state / OPTIMIZER)
            (state / REPLAY).mkdir()
            replay.save(state / REPLAY)
        (state / STATE).write_bytes(orjson.dumps({**asdict(progress), "mix": asdict(mix)}))
        write_manifest(building, {"kind": "candidate", **facts})
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return final


def copy_tokenizer(base: Path, folder: Path) -> None:
    """
    Copy tokenizer, template and generation settings of *base* to *folder*, but what is there.
    """
    for name in _TOKENIZER_FILES:
        if (base / name).is_file() and not (folder / name).exists():
            shutil.copyfile(base / name, folder / name)


def candidate_facts(
    spec: TrainingSpec,
    config: Config,
    *,
    rows: JobRows,
    state: RunState,
    kernels: str,
    parent: Path | None,
) -> dict[str, Any]:
    """
    Say what was trained: the part of a version's lineage that only the worker knows.
    """
    epochs = config.training.num_train_epochs
    per_dataset = [
        {
            "dataset_id": d.dataset_id,
            "sha256": d.sha256,
            "name": d.name,
            "n_examples": len(dataset) * epochs,
            "n_supervised_tokens": int(dataset.supervised_counts.sum()) * epochs,
        }
        for d, dataset in zip(spec.datasets, rows.datasets, strict=True)
    ]
    early_stop = state.early_stop
    return {
        "job_id": spec.job_id,
        "run_id": spec.run_id,
        "base": str(config.model.base),
        "base_version": spec.base_version,
        "parent": parent.name if parent else None,
        "datasets": per_dataset,
        "n_replayed": len(rows.replay),
        "method": config.training.method,
        "job_steps": state.job_step,
        "planned_steps": state.total_steps,
        "lineage_step": state.lineage_step,
        "plan_digest": state.plan_digest,
        "early_stop": early_stop.evidence(state.plan_digest) if early_stop.patience else None,
        "kernels": kernels,
        "precision": state.precision or None,
        "totals": {k: round(v, 3) for k, v in state.totals.items()},
        "torch": torch.__version__,
        "created_at": utc_now(),
    }


@dataclass(frozen=True, slots=True)
class ParentState:
    """
    What a version carries beside its weights for the next job of its lineage.
    """

    lineage_step: int = 0
    optimizer: dict[str, torch.Tensor] | None = None
    """None: the next job starts without moments, and says so."""
    optimizer_reset: str = ""
    """Why there are no moments, where that was decided and is no damage."""
    replay: Reservoir | None = None
    warm_up: WarmUp | None = None
    mix: Mix | None = None
    kernels: str = ""
    """How the lineage computes its loss; "" where that is to be found out."""
    precision: str = ""
    """What its matrix products are computed in, where that is not the weights' type."""


def load_parent_state(version: Path) -> ParentState:
    """
    Return what *version* was left with.

    Raises:
        ModelError: There is a state and it cannot be read.
    """
    folder = version / TRAINING_STATE
    if not folder.is_dir():
        return ParentState()
    try:
        state = orjson.loads((folder / STATE).read_bytes())
        replay = folder / REPLAY
        mix = state.get("mix")
        return ParentState(
            lineage_step=int(state["lineage_step"]),
            optimizer=None if "optimizer_reset" in state else load_file(folder / OPTIMIZER),
            optimizer_reset=str(state.get("optimizer_reset", "")),
            replay=Reservoir.load(replay) if replay.is_dir() else None,
            warm_up=WarmUp(int(state["warm_up_began"]), int(state["warm_up_steps"]))
            if "warm_up_began" in state
            else None,
            mix=None if mix is None else Mix(**mix),
            kernels=str(state.get("kernels", "")),
            precision=str(state.get("precision", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: unreadable training state: {error}") from error
