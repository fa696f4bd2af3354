"""
An adapter merged into the full model it sits on: a new base that training goes on from.

Merged in float32, stored as the base is (float32 or bfloat16, never 4 bit), read
back from the disk and compared with base and adapter. The optimizer's moments
are of parameters that are gone, so they are reset and the state says so; the
replay reservoir and the steps of the lineage go along. Does not know whether the
result is any good: the gate asks it again.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file

from finetuned.config import Config
from finetuned.core.phase import Phase
from finetuned.errors import DatasetError, ModelError
from finetuned.files.atomic import publish_dir
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.manifest import verify_manifest, write_manifest
from finetuned.files.run import CANDIDATE, read_json, utc_now
from finetuned.files.spec import TrainingSpec
from finetuned.model.load import load_causal_lm
from finetuned.model.tensors import disk_errors
from finetuned.training.candidate import REPLAY, TRAINING_STATE, copy_tokenizer, load_parent_state
from finetuned.training.checkpoint import OPTIMIZER, STATE

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""
Largest difference of two logits, as a share of the largest logit. In bfloat16 a
merged weight is rounded once more (1 part in 256), which some layers amplify.
"""

_PROBES = 8
_PROBE_TOKENS = 256


def consolidate(run_dir: Path, spec: TrainingSpec, heartbeat: Heartbeat) -> Path:
    """
    Write ``candidate/``: the full model that *spec*'s parent is together with its base.

    Args:
        run_dir: The run.
        spec: Of the run; the configured device is used, the precision is the base's own.
        heartbeat: Shows what is being done.

    Raises:
        DatasetError: There is no adapter to merge.
        CorruptFile: The parent is not intact; nothing was read of it.
        ModelError: The merged model does not say what base and adapter say.
        OSError: The file system refused; there is no candidate.
    """
    final = run_dir / CANDIDATE
    if final.exists():
        return final
    version, base, config = spec.parent, spec.base, spec.config
    if version is None or not (version / "adapter_config.json").is_file():
        raise DatasetError("there is no adapter to merge: what is in use is a full model")
    made = verify_manifest(version)
    state = load_parent_state(version)
    probes = _probes(state.replay, base)
    heartbeat.beat(force=True, phase=Phase.MERGING)
    merged, dtype, before = _merge(base, version, config, probes)
    building = run_dir / f".building-{CANDIDATE}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        with disk_errors():
            merged.save_pretrained(building, safe_serialization=True)
        del merged  # the old one goes before the new one comes
        copy_tokenizer(base, building)
        heartbeat.beat(force=True, phase=Phase.VERIFYING_MERGE)
        difference = _difference(building, config, probes, before, dtype)
        merge = {
            "difference": difference,
            "tolerance": TOLERANCE[dtype],
            "n_positions": sum(len(probe) for probe in probes),
            "dtype": str(dtype)[len("torch.") :],
        }
        if not difference <= TOLERANCE[dtype]:
            raise ModelError(
                f"the merged model does not say what {version.name} says: logits differ by "
                f"{difference:.2g} of the largest (tolerance {TOLERANCE[dtype]:g})"
            )
        _write_state(version, building)
        write_manifest(building, _facts(spec, made, version, state.lineage_step, merge))
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return final


def _merge(
    base: Path, version: Path, config: Config, probes: list[list[int]]
) -> tuple[Any, torch.dtype, list[torch.Tensor]]:
    """Return the merged model, what it is stored in, and the logits of base and adapter."""
    dtype = stored_dtype(base)
    model = load_full(base, config, dtype)
    wrapped = PeftModel.from_pretrained(model, version).eval()
    before = [logits(wrapped, probe) for probe in probes]
    with torch.no_grad():
        for layer in wrapped.modules():
            if isinstance(layer, LoraLayer):
                weight = layer.get_base_layer().weight
                delta = layer.get_delta_weight("default").float()
                weight.copy_((weight.float() + delta).to(weight.dtype))
    return wrapped.unload(), dtype, before


def stored_dtype(base: Path) -> torch.dtype:
    """
    Return what the merged weights of *base* are stored in: its own precision, bfloat16 for float16.
    """
    config = read_json(base / "config.json") or {}
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return torch.float32 if name == "float32" else torch.bfloat16


def load_full(path: Path, config: Config, dtype: torch.dtype) -> Any:
    """
    Load the full model in *path* in *dtype*, on the configured device.
    """
    named = replace(config.model, dtype=str(dtype)[len("torch.") :])
    return load_causal_lm(path, named)


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    """
    Return the model's logits for one sequence, float32 on the CPU, shape (tokens, vocabulary).
    """
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    rows: torch.Tensor = found[0].float().cpu()
    return rows


def _probes(replay: Any, base: Path) -> list[list[int]]:
    """Return sequences that the lineage has learnt; without any, ids of the vocabulary in order."""
    if replay is not None and len(replay):
        return [replay[i][0][:_PROBE_TOKENS].tolist() for i in range(min(_PROBES, len(replay)))]
    size = int((read_json(base / "config.json") or {}).get("vocab_size") or 256)
    return [[(7 * i + j) % size for i in range(64)] for j in range(_PROBES)]


def _difference(
    folder: Path,
    config: Config,
    probes: list[list[int]],
    before: list[torch.Tensor],
    dtype: torch.dtype,
) -> float:
    model = load_full(folder, config, dtype)
    worst = 0.0
    for probe, old in zip(probes, before, strict=True):
        new = logits(model, probe)
        found = float((new - old).abs().max() / old.abs().max())
        worst = found if not found <= worst else worst  # NaN counts as the worst there is
    return worst


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


def _facts(
    spec: TrainingSpec,
    made: dict[str, Any],
    version: Path,
    lineage_step: int,
    merge: dict[str, Any],
) -> dict[str, Any]:
    kept = ("base", "kernels", "precision", "torch")
    return {
        **{name: made.get(name) for name in kept},
        "kind": "candidate",
        "job_id": spec.job_id,
        "run_id": spec.run_id,
        "parent": version.name,
        "base_version": None,  # it is a full model: what it was merged into is not needed for it
        "consolidates": version.name,
        "merge": merge,
        "merged_from": {"version": version.name, "share": 1.0},
        "method": "consolidated",
        "datasets": [],
        "job_steps": 0,
        "planned_steps": 0,
        "lineage_step": lineage_step,
        "created_at": utc_now(),
    }
