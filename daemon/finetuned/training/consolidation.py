"""
A consolidation: an adapter merged into the full model it sits on, which becomes a new base.

Merged in float32, stored as the base is (float32 or bfloat16, never 4 bit), read back
from disk and compared with base and adapter together (merge_check.py). The optimizer
starts anew, since its moments are of parameters that are gone; the replay reservoir and
the steps of the lineage go along. Does not know whether the result is any good: the gate
examines it like any candidate.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from finetuned.core.phase import Phase
from finetuned.errors import DatasetError, ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.manifest import verify_manifest, write_manifest
from finetuned.files.run import CANDIDATE, read_json, utc_now
from finetuned.files.spec import TrainingSpec
from finetuned.model.tensors import disk_errors
from finetuned.model.types import LanguageModel
from finetuned.training.candidate import copy_tokenizer, new_building
from finetuned.training.checkpoint import OPTIMIZER, STATE
from finetuned.training.merge_check import MergeCheck, load_full
from finetuned.training.parent_state import REPLAY, TRAINING_STATE, load_parent_state

_KEPT_FACTS = ("base", "kernels", "precision", "torch")
"""Facts of the adapter's manifest that are true of the merged model too."""


def consolidate(run_dir: Path, spec: TrainingSpec) -> Path:
    """
    Write ``candidate/``: the full model that the parent of *spec* is together with its base.

    Args:
        run_dir: Folder of the run.
        spec: Names parent and base; its configured device is used, the precision is the base's.

    Returns:
        The candidate; one that exists already is kept.

    Raises:
        DatasetError: There is no adapter to merge.
        CorruptFile: The parent is not intact; nothing of it was read.
        ModelError: The merged model computes other logits than base and adapter.
        OSError: The file system refused; there is no candidate.
    """
    final, version = run_dir / CANDIDATE, spec.parent
    if final.exists():
        return final
    if version is None or not (version / "adapter_config.json").is_file():
        raise DatasetError("there is no adapter to merge: what is in use is a full model")
    heartbeat = Heartbeat(run_dir)
    made = verify_manifest(version)
    state = load_parent_state(version)
    check = MergeCheck.of(spec.base, spec.config.model, state.replay)
    heartbeat.beat(force=True, phase=Phase.MERGING)
    merged = _merge(spec, version, check)
    building = new_building(run_dir)
    try:
        with disk_errors():
            merged.save_pretrained(building, safe_serialization=True)
        del merged  # its memory is needed for the model that is read back
        copy_tokenizer(spec.base, building)
        heartbeat.beat(force=True, phase=Phase.VERIFYING_MERGE)
        merge = _verified(check, building, version)
        _write_state(version, building)
        facts = _facts(spec, version, {name: made.get(name) for name in _KEPT_FACTS})
        write_manifest(building, {**facts, "lineage_step": state.lineage_step, "merge": merge})
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    heartbeat.beat(force=True, phase=Phase.TRAINED)
    return final


def _merge(spec: TrainingSpec, version: Path, check: MergeCheck) -> LanguageModel:
    """Return the merged model, after *check* has noted the logits of base and adapter."""
    model = load_full(spec.base, spec.config.model, check.dtype)
    wrapped = PeftModel.from_pretrained(model, version).eval()
    check.note(wrapped)
    with torch.no_grad():
        for layer in wrapped.modules():
            if isinstance(layer, LoraLayer):
                weight = layer.get_base_layer().weight
                delta = layer.get_delta_weight("default").float()
                weight.copy_((weight.float() + delta).to(weight.dtype))
    merged: LanguageModel = wrapped.unload()
    return merged


def _verified(check: MergeCheck, building: Path, version: Path) -> dict[str, Any]:
    """Return the manifest's evidence that the model in *building* computes the same."""
    difference = check.difference(building)
    if not difference <= check.tolerance:  # NaN too
        raise ModelError(
            f"the merged model computes other logits than {version.name}: they differ by "
            f"{difference:.2g} of the largest (tolerance {check.tolerance:g})"
        )
    return {
        "difference": difference,
        "tolerance": check.tolerance,
        "n_positions": check.n_positions,
        "dtype": str(check.dtype)[len("torch.") :],
    }


def _write_state(version: Path, building: Path) -> None:
    source, target = version / TRAINING_STATE, building / TRAINING_STATE
    target.mkdir()
    if (source / REPLAY).is_dir():
        shutil.copytree(source / REPLAY, target / REPLAY, copy_function=shutil.copyfile)
    state = read_json(source / STATE) or {}
    state["optimizer_reset"] = f"{version.name} was merged into a new base"
    (target / STATE).write_bytes(orjson.dumps(state))
    with disk_errors():
        save_file({}, target / OPTIMIZER)


def _facts(spec: TrainingSpec, version: Path, kept: dict[str, Any]) -> dict[str, Any]:
    return {
        **kept,
        "kind": "candidate",
        "job_id": spec.job_id,
        "run_id": spec.run_id,
        "parent": version.name,
        "base_version": None,  # it is a full model and needs no other version
        "consolidates": version.name,
        "merged_from": {"version": version.name, "share": 1.0},
        "method": "consolidated",
        "datasets": [],
        "job_steps": 0,
        "planned_steps": 0,
        "created_at": utc_now(),
    }
