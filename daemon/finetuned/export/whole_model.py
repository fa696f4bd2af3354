"""
A version as one full model that stock libraries load: merged in float32, rounded once.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from finetuned.data.render import Renderer
from finetuned.errors import ExportRefused, ModelError
from finetuned.files.manifest import verify_manifest
from finetuned.files.run import read_json
from finetuned.layout import MANIFEST
from finetuned.registry.named_model import NamedModel

if TYPE_CHECKING:
    from finetuned.config import ModelConfig

_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json")


def has_adapter(model: NamedModel) -> bool:
    """
    Return whether the model is an adapter on a base.
    """
    folder = model.weights.folder
    return folder is not None and (folder / "adapter_config.json").is_file()


def stored_bytes(model: NamedModel) -> tuple[int, int]:
    """
    Return the size in bytes of the full model's weights as they are stored, and bits of a weight.
    """
    folder = model.weights.base if has_adapter(model) else _full(model)
    config = read_json(folder / "config.json") or {}
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return size, 32 if name == "float32" else 16


def architecture(model: NamedModel) -> str:
    """
    Return the class of the full model, as its config.json names it; empty if it names none.
    """
    folder = model.weights.base if has_adapter(model) else _full(model)
    named = (read_json(folder / "config.json") or {}).get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def verify(model: NamedModel) -> None:
    """
    Compare the files of a version, and of the version it sits on, with their manifests.

    Raises:
        CorruptFile, ModelError: A file is missing or changed.
    """
    for folder in dict.fromkeys((model.weights.base, model.weights.folder)):
        if folder is not None and (folder / MANIFEST).is_file():
            verify_manifest(folder)


def write_whole(
    model: NamedModel, folder: Path, renderer: Renderer, config: ModelConfig
) -> dict[str, object]:
    """
    Write the full model that a version is into *folder*, which is empty.

    Args:
        model: A version, or a base model.
        folder: Where it is written.
        renderer: Of its base: made the prompts of training and evaluation.
        config: Its device is used.

    Returns:
        How the merge was checked, for the manifest; empty if nothing was merged.

    Raises:
        ModelError: The merged model computes other logits than base and adapter.
        OSError: The disk refused.
    """
    from finetuned.merging.check import MergeCheck, first_other_tensor
    from finetuned.merging.merge import merge
    from finetuned.merging.stock_files import write_stock_files
    from finetuned.model.tensors import disk_errors

    base = model.weights.base
    evidence: dict[str, object] = {}
    if has_adapter(model) and model.weights.folder is not None:
        place = replace(config, device="cpu") if config.device == "auto" else config
        merged, evidence = merge(base, model.weights.folder, MergeCheck.of(base), place)
        with disk_errors():
            merged.save_pretrained(folder, safe_serialization=True)
        other = first_other_tensor(merged, folder, place)
        if other is not None:
            raise ModelError(f"the merged model was stored otherwise than it is: {other} differs")
    else:
        source = _full(model)
        for pattern in ("config.json", *_WEIGHTS):
            for path in source.glob(pattern):
                shutil.copyfile(path, folder / path.name)
    write_stock_files(folder, base, renderer)
    for path in folder.iterdir():
        if path.is_file():
            path.chmod(0o644)  # safetensors writes for its owner alone
    return dict(evidence)


def write_adapter(model: NamedModel, folder: Path) -> None:
    """
    Write the adapter of a version as a PEFT folder with its tokenizer.

    Raises:
        ExportRefused: The version has no adapter.
    """
    source = model.weights.folder
    if source is None or not has_adapter(model):
        raise ExportRefused(
            f"{model.name} is a full model and has no adapter; export it with --to hf"
        )
    for path in source.iterdir():
        if path.is_file() and path.name != MANIFEST:
            shutil.copyfile(path, folder / path.name)


def _full(model: NamedModel) -> Path:
    """Return the folder of the full model that a model without an adapter is."""
    own = model.weights.folder
    return own if own is not None else model.weights.base
