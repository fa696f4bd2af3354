"""
Weights between the incumbent's and the candidate's: a soft step back.

w = a * candidate + (1 - a) * incumbent, for every trained tensor, the optimizer's
moments included. For an adapter these are its two factors, on the straight line
that training itself moved along; their product is no straight line, and a base
without an adapter is one whose second factor is zero. Does not know what is better.

Source: convex combinations of the previous and the new model against forgetting,
P&M (arXiv 2505.22389).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from finetuned.evaluation.subjects import Subject, adapter_shape
from finetuned.files.atomic import publish_dir
from finetuned.files.manifest import read_manifest, write_manifest
from finetuned.files.run import interpolated_candidate
from finetuned.layout import MANIFEST
from finetuned.model.tensors import disk_errors

ADAPTER = "adapter_model.safetensors"
OPTIMIZER = "training_state/optimizer.safetensors"


def is_possible(incumbent: Subject, candidate: Subject) -> bool:
    """
    Return whether both are adapters of one shape on one base, or the incumbent is that base.

    Full models are not tried: two of them and their mean would have to be held.
    """
    shape = adapter_shape(candidate.folder)
    if shape is None or incumbent.base != candidate.base:
        return False
    return incumbent.folder is None or adapter_shape(incumbent.folder) == shape


def interpolate(incumbent: Subject, candidate: Subject, share: float, run_dir: Path) -> Path:
    """
    Write the candidate between the two, whole and durable, and return its folder.

    Everything else is the candidate's: tokenizer, replay reservoir, steps. Its
    manifest says what it was made of, under ``merged_from``.

    Args:
        incumbent: See is_possible.
        candidate: Its folder has a manifest.
        share: Of the candidate, between 0 and 1.
        run_dir: Of the evaluation; the author of the new folder.

    Raises:
        OSError: The file system refused; there is no such folder.
    """
    from safetensors.torch import load_file, save_file

    final = run_dir / interpolated_candidate(share)
    if (final / MANIFEST).is_file():
        return final
    source = _folder(candidate)
    building = run_dir / f".building-{final.name}"
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(source, building, ignore=shutil.ignore_patterns(MANIFEST))
    new = load_file(source / ADAPTER)
    old = {} if incumbent.folder is None else load_file(incumbent.folder / ADAPTER)
    (building / ADAPTER).unlink()  # the copy may be read-only
    with disk_errors():
        save_file(_between(new, old, share), building / ADAPTER, metadata={"format": "pt"})
    if (source / OPTIMIZER).is_file():
        moments = {}
        if incumbent.folder is not None and (incumbent.folder / OPTIMIZER).is_file():
            moments = load_file(incumbent.folder / OPTIMIZER)
        if moments:
            (building / OPTIMIZER).unlink()
            mixed = _between(load_file(source / OPTIMIZER), moments, share)
            with disk_errors():
                save_file(mixed, building / OPTIMIZER)
    made = read_manifest(source)
    facts = {k: v for k, v in made.items() if k not in ("files", "schema_version")}
    facts["run_id"] = f"{made['run_id']}-a{share:g}"
    facts["merged_from"] = {
        "share": share,
        "candidate_run": made["run_id"],
        "incumbent": incumbent.version,
    }
    write_manifest(building, facts)
    publish_dir(building, final)
    return final


def _folder(subject: Subject) -> Path:
    if subject.folder is None:
        raise ValueError(f"the {subject.name} is a base model")
    return subject.folder


def _between(new: dict[str, Any], old: dict[str, Any], share: float) -> dict[str, Any]:
    """
    Return share * new + (1 - share) * old, tensor by tensor.

    Where *old* has none: an adapter's first factor is as it is, since it alone
    changes nothing, its second is scaled, and counters are the new ones.
    """
    result = {}
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
