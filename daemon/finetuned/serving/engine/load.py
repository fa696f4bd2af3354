"""
Models for serving, loaded from their folders after their hashes were verified.

Versions on one base share its weights: each gets modules of its own around the same tensors.
With float32 weights an adapter is merged, which makes a pass cheaper; only the matrices that
it changes are then copied. With other precisions merging would round the adapter away, so it
stays beside the base. Does not know requests.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import structlog
import torch
from transformers import PreTrainedModel

from finetuned.config import ModelConfig
from finetuned.core.confidence.calibration import ConfidenceMap
from finetuned.core.generation import EngineSettings, HeldModel
from finetuned.core.retention import version_number
from finetuned.data.render import Renderer
from finetuned.errors import ModelError
from finetuned.files.base_model import position_limit
from finetuned.files.confidence_map import read_map
from finetuned.files.manifest import verify_manifest
from finetuned.inference.fused_lm import fused
from finetuned.layout import MANIFEST
from finetuned.model.load import load_causal_lm
from finetuned.registry.folder import verify_folder
from finetuned.serving.engine.served import Served

log = structlog.get_logger()

_POSITIONS = 1 << 17
"""Longest input of a model whose configuration does not say it."""


class ModelLoader:
    """
    Loads models, each base once.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._config = ModelConfig(dtype=settings.dtype, device=settings.device)
        self._bases: dict[Path, PreTrainedModel] = {}

    def forget(self, bases: set[Path]) -> None:
        """
        Keep no bases but *bases*.
        """
        self._bases = {path: model for path, model in self._bases.items() if path in bases}

    def load(self, source: HeldModel) -> Served:
        """
        Load a model and run one token through it.

        Raises:
            ModelError: Its files are not what their manifest says, or cannot be served.
            ConfigError: Its tokenizer or its device is not usable.
        """
        _verify(source.base, source.base.name)
        if source.folder is not None:
            _verify(source.folder, source.name)
        lm = fused(self._model(source))
        renderer = Renderer.load(
            source.base,
            max_length=position_limit(source.base) or _POSITIONS,
            enable_thinking=self._settings.enable_thinking,
        )
        with torch.no_grad():
            if not lm.is_exact(renderer.eos_token_id):
                raise ModelError(
                    f"{source.name}: the engine needs a key/value cache of attention layers, and "
                    "this model keeps other states; serve it with another engine (serving.engine)"
                )
            return Served(
                source,
                lm,
                renderer,
                positions=position_limit(source.base) or _POSITIONS,
                kept_bytes=self._settings.kv_bytes // 8,
                confidence_map=_map_of(source),
            )

    def _model(self, source: HeldModel) -> Any:
        folder = source.folder
        if folder is None:
            return self._base(source.base)
        if (folder / "adapter_config.json").is_file():
            return _with_adapter(self._base(source.base), folder)
        return _ready(load_causal_lm(folder, self._config))

    def _base(self, path: Path) -> PreTrainedModel:
        if path not in self._bases:
            self._bases[path] = _ready(load_causal_lm(path, self._config))
        return self._bases[path]


def _map_of(source: HeldModel) -> ConfidenceMap | None:
    """Return the confidence map of a version; None if it has none that can be used."""
    if source.folder is None:
        return None
    try:
        kept = read_map(source.folder)
    except ModelError as error:  # its answers are as good as before
        log.warning("confidence_map_unusable", version=source.name, error=str(error))
        return None
    return None if kept is None else kept.map


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    """Return *model* with a cache and without gradients, for good."""
    model.config.use_cache = True
    model.requires_grad_(False)
    return model


def _verify(folder: Path, name: str) -> None:
    """
    Compare every file of a version with its manifest; a folder without one has none to fit.

    Raises:
        ModelError: They differ.
    """
    if version_number(name) is not None:
        verify_folder(folder, name)
    elif (folder / MANIFEST).is_file():
        verify_manifest(folder)


def _with_adapter(base: PreTrainedModel, folder: Path) -> Any:
    """
    Return a model that shares the tensors of *base*, with the adapter in *folder*.
    """
    from peft import PeftModel

    # deepcopy() takes what it finds in its memo for copied: the modules are new, not the tensors.
    twin = copy.deepcopy(base, {id(tensor): tensor for tensor in base.parameters()})
    model: Any = PeftModel.from_pretrained(twin, folder).eval()
    model.requires_grad_(False)
    kinds = {p.dtype for p in twin.parameters() if p.is_floating_point()}
    if kinds != {torch.float32} or not hasattr(model.base_model, "merge_and_unload"):
        return model
    for module in model.modules():
        layer = getattr(module, "base_layer", None)
        if isinstance(layer, torch.nn.Module):
            for name, tensor in list(layer.named_parameters(recurse=False)):
                own = torch.nn.Parameter(tensor.detach().clone(), requires_grad=False)
                setattr(layer, name, own)
    return model.merge_and_unload()
