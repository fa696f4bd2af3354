"""
Weights between those of the model that was trained and the candidate's.

w = a * candidate + (1 - a) * parent for every trained tensor and the moments of the
optimizer. The tensors of an adapter are its two factors, which training itself moves;
their product does not lie on a straight line. A base without an adapter counts as an
adapter whose second factor is zero. Does not know which weights are better.

Source: convex combinations of the previous and the new model against forgetting,
P&M (arXiv 2505.22389).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file

from finetuned.evaluation.subjects import Subject, adapter_shape
from finetuned.files.atomic import publish_dir
from finetuned.files.family_list import read_families
from finetuned.files.manifest import read_manifest, write_manifest
from finetuned.files.run import interpolated_candidate
from finetuned.layout import MANIFEST
from finetuned.model.tensors import disk_errors

ADAPTER: Final = "adapter_model.safetensors"
OPTIMIZER: Final = "training_state/optimizer.safetensors"

Tensors = dict[str, torch.Tensor]


def is_possible(parent: Subject, candidate: Subject) -> bool:
    """
    Return whether both are adapters of one shape on one base, or the parent is that base.

    Of a version with families the two may be adapters of unlike files: nothing lies between.
    Full models are not interpolated: memory would have to hold two of them and their mean.
    """
    shape = adapter_shape(candidate.folder)
    if shape is None or parent.base != candidate.base:
        return False
    if any(len(read_families(subject.folder)) > 1 for subject in (parent, candidate)):
        return False
    return parent.folder is None or adapter_shape(parent.folder) == shape


def interpolate(parent: Subject, candidate: Subject, share: float, run_dir: Path) -> Path:
    """
    Write the weights between the two as a whole candidate, durably, and return its folder.

    All other files are the candidate's: tokenizer, replay reservoir, steps. The manifest
    names the parts under ``merged_from``.

    Args:
        parent: What it was trained on; see is_possible.
        candidate: Its folder has a manifest.
        share: Share of the candidate, between 0 and 1.
        run_dir: The run folder of the evaluation, in which the new folder is made.

    Raises:
        OSError: The file system refused; the new folder does not exist.
    """
    final = run_dir / interpolated_candidate(share)
    if (final / MANIFEST).is_file():
        return final
    source = _folder(candidate)
    building = run_dir / f".building-{final.name}"
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(source, building, ignore=shutil.ignore_patterns(MANIFEST))
    _write_between(source, parent.folder, building, share)
    made = read_manifest(source)
    facts = {k: v for k, v in made.items() if k not in ("files", "schema_version")}
    facts["run_id"] = f"{made['run_id']}-a{share:g}"
    facts["merged_from"] = {
        "share": share,
        "candidate_run": made["run_id"],
        "incumbent": parent.version,
    }
    write_manifest(building, facts)
    publish_dir(building, final)
    return final


def _write_between(source: Path, old: Path | None, building: Path, share: float) -> None:
    """Replace adapter and optimizer moments in *building*, a copy of *source*."""
    before = {} if old is None else load_file(old / ADAPTER)
    adapter = _between(load_file(source / ADAPTER), before, share)
    _replace(building / ADAPTER, adapter, metadata={"format": "pt"})
    if old is not None and (source / OPTIMIZER).is_file() and (old / OPTIMIZER).is_file():
        moments = load_file(old / OPTIMIZER)
        if moments:
            mixed = _between(load_file(source / OPTIMIZER), moments, share)
            _replace(building / OPTIMIZER, mixed, metadata=None)


def _replace(path: Path, tensors: Tensors, *, metadata: dict[str, str] | None) -> None:
    path.unlink()  # the copy may be read-only
    with disk_errors():
        save_file(tensors, path, metadata=metadata)


def _folder(subject: Subject) -> Path:
    if subject.folder is None:
        raise ValueError(f"the {subject.name} is a base model")
    return subject.folder


def _between(new: Tensors, old: Tensors, share: float) -> Tensors:
    """
    Return share * new + (1 - share) * old, tensor by tensor.

    Counters are those of *new*. If *old* is empty, the first factor of an adapter is kept,
    since it changes nothing by itself, and the second is scaled.
    """
    result: Tensors = {}
    for name, value in new.items():
        before = old.get(name)
        if not value.is_floating_point():
            result[name] = value
        elif before is not None and before.shape == value.shape:
            mixed = share * value.double() + (1 - share) * before.double()
            result[name] = mixed.to(value.dtype).contiguous()
        elif not old and "lora_B" in name:
            result[name] = (share * value.double()).to(value.dtype).contiguous()
        else:
            result[name] = value
    return result
