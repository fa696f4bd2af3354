"""
One adapter merged into the full model it sits on, in float32, and the evidence that it is right.

Does not know where either came from, nor what becomes of the merged model.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils import ModulesToSaveWrapper

from finetuned.config import ModelConfig
from finetuned.errors import ModelError
from finetuned.merging.check import TOLERANCE, MergeCheck, load_full, stored_dtype
from finetuned.model.types import LanguageModel

_CHANGED: Final = (LoraLayer, ModulesToSaveWrapper)
"""What an adapter puts around a layer that it changes."""


def merge(
    base: Path, version: Path, check: MergeCheck, place: ModelConfig
) -> tuple[LanguageModel, dict[str, object]]:
    """
    Return the merged model, as it is to be stored, and the manifest's evidence that it is right.

    Args:
        base: Directory of the full model.
        version: Folder of the adapter on it.
        check: Has probes; gets the logits of base and adapter.
        place: Its device is used.

    Raises:
        ModelError: The merged model computes something else, or the adapter cannot be merged.
    """
    model = load_full(base, place, torch.float32)
    wrapped = PeftModel.from_pretrained(model, version).eval()
    untied = untie(wrapped)
    check.note(wrapped)
    with torch.no_grad():
        for layer in _adapted(wrapped):
            layer.get_base_layer().weight += layer.get_delta_weight("default").float()
    merged: LanguageModel = wrapped.unload()
    difference = check.difference(merged)
    if not difference <= TOLERANCE:  # NaN too
        raise ModelError(
            f"the merged model computes other logits than {version.name}: they differ by "
            f"{difference:.2g} of the largest (tolerance {TOLERANCE:g}); nothing was published"
        )
    dtype = stored_dtype(base)
    return merged.to(dtype), {
        "difference": difference,
        "tolerance": TOLERANCE,
        "n_positions": check.n_positions,
        "dtype": str(dtype)[len("torch.") :],
        "device": merged.device.type,
        "untied_head": untied,
    }


def untie(wrapped: PeftModel) -> bool:
    """
    Give the language head weights of its own if it shares them and an adapter changes them.

    Input embedding and head of many small models are one tensor, and an adapter on one of
    them does not change the other: merged, they differ.

    Returns:
        Whether they were parted.

    Raises:
        ModelError: An adapter changes a weight that other layers share; a merge would
            change those too.
    """
    model = wrapped.get_base_model()
    ends = model.get_output_embeddings(), model.get_input_embeddings()
    head, embedding = (_original(end) for end in ends)
    is_tied = head is not None and head.weight is embedding.weight
    parted = is_tied and any(isinstance(end, _CHANGED) for end in ends)
    if parted:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
        for config in (model.config, model.config.get_text_config()):
            config.tie_word_embeddings = False
    uses = Counter(id(p) for _, p in wrapped.named_parameters(remove_duplicate=False))
    if any(uses[id(layer.get_base_layer().weight)] > 1 for layer in _adapted(wrapped)):
        raise ModelError(
            "the adapter changes a weight that other layers of the base share, so it cannot "
            "be merged; go on with the adapter, or train one with other training.target_modules"
        )
    return parted


def _original(module: torch.nn.Module | None) -> Any:
    """Return the layer of the base that *module* is, whatever an adapter put around it."""
    if isinstance(module, ModulesToSaveWrapper):
        return module.original_module
    return module.get_base_layer() if isinstance(module, LoraLayer) else module


def _adapted(wrapped: PeftModel) -> list[LoraLayer]:
    return [layer for layer in wrapped.modules() if isinstance(layer, LoraLayer)]
