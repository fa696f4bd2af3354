"""
A consolidation: an adapter merged into the full model it sits on, which becomes a new base.

Merged in float32, compared with base and adapter together (merging/check.py), stored as the
base is (float32 or bfloat16, never 4 bit), and read back from disk. The optimizer
starts anew, since its moments are of parameters that are gone; the replay reservoir and
the steps of the lineage go along. Does not know whether the result is any good: the gate
examines it like any candidate.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors.torch import save_file

from finetuned.config import ModelConfig
from finetuned.core.phase import Phase
from finetuned.data.render import Renderer
from finetuned.data.replay import Reservoir
from finetuned.errors import DatasetError, ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.family_list import read_families
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.manifest import verify_manifest, write_manifest
from finetuned.files.run import CANDIDATE, read_json, utc_now
from finetuned.files.spec import TrainingSpec
from finetuned.merging.check import MAX_PROBES, MergeCheck, first_other_tensor, stored_dtype
from finetuned.merging.merge import merge
from finetuned.merging.stock_files import write_stock_files
from finetuned.model.load import pick_device
from finetuned.model.tensors import disk_errors
from finetuned.training.candidate import new_building
from finetuned.training.checkpoint import OPTIMIZER, STATE
from finetuned.training.parent_state import REPLAY, TRAINING_STATE, load_parent_state

_SPARE = 1.25
"""Memory of the merge, as a multiple of the weights."""

_KEPT_FACTS = ("base", "chat_template", "kernels", "precision", "torch")
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
    if len(read_families(version)) > 1:
        raise DatasetError(f"nothing to merge: {version.name} has an adapter for each family")
    heartbeat = Heartbeat(run_dir)
    made = verify_manifest(version)
    state = load_parent_state(version)
    check = MergeCheck.of(spec.base, _rows(state.replay))
    heartbeat.beat(force=True, phase=Phase.MERGING)
    place = _place(spec.base, spec.config.model)
    merged, evidence = merge(spec.base, version, check, place)
    building = new_building(run_dir)
    try:
        with disk_errors():
            merged.save_pretrained(building, safe_serialization=True)
        write_stock_files(building, spec.base, _renderer(spec))
        heartbeat.beat(force=True, phase=Phase.VERIFYING_MERGE)
        other = first_other_tensor(merged, building, place)
        if other is not None:
            raise ModelError(f"the merged model was stored otherwise than it is: {other} differs")
        _write_state(version, building)
        facts = _facts(spec, version, {name: made.get(name) for name in _KEPT_FACTS})
        write_manifest(building, {**facts, "lineage_step": state.lineage_step, "merge": evidence})
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    heartbeat.beat(force=True, phase=Phase.TRAINED)
    return final


def _rows(replay: Reservoir | None) -> list[list[int]]:
    """Return rows of the lineage that the merge is checked on; none if it has no reservoir."""
    n = 0 if replay is None else min(MAX_PROBES, len(replay))
    return [replay[i][0].tolist() for i in range(n)] if replay is not None else []


def _renderer(spec: TrainingSpec) -> Renderer:
    return Renderer.load(
        spec.base,
        max_length=spec.config.data.max_length,
        enable_thinking=spec.config.model.enable_thinking,
    )


def _place(base: Path, config: ModelConfig) -> ModelConfig:
    """Return *config* with a device that has the memory for the model in float32."""
    if pick_device(config.device).type != "cuda":
        return config
    stored = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    needed = stored * _SPARE * torch.float32.itemsize / stored_dtype(base).itemsize
    free, _ = torch.cuda.mem_get_info()
    return config if needed <= free else replace(config, device="cpu")


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
