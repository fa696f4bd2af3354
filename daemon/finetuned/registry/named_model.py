"""
Models by the names that people give them.

Loads no library of models, so that a wrong name is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.core.retention import version_number
from finetuned.errors import BaseModelMissing, ModelError, RegistryError
from finetuned.files.base_model import find_base
from finetuned.files.model_manifest import read_model_manifest
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.weights import Weights, weights_in


@dataclass(frozen=True, slots=True)
class NamedModel:
    """
    A model that somebody named.
    """

    name: str
    """For people: the version, or the name of the folder."""
    path: Path
    """The folder itself, links resolved."""
    weights: Weights

    def record(self) -> dict[str, str]:
        """
        Return what a document says of it.
        """
        return {"name": self.name, "path": str(self.path), "base": str(self.weights.base)}


def find_model(layout: Layout, text: str, configured: str) -> NamedModel:
    """
    Return the model that *text* means.

    Args:
        layout: The root.
        text: A version's name, ``current_model``, any directory with a model or an
            adapter, or a base model as ``model.base`` may name it.
        configured: ``model.base``.

    Raises:
        RegistryError: The version does not exist, or no version is in use.
        ModelError: The directory holds no model, or the base of its adapter is missing.
    """
    folder = _folder_of(layout, text).resolve()
    if not any((folder / f).is_file() for f in (MANIFEST, "adapter_config.json", "config.json")):
        raise ModelError(f"{folder}: no model: neither adapter_config.json nor config.json")
    weights = weights_in(layout, folder, configured)
    named = read_model_manifest(folder).version if (folder / MANIFEST).is_file() else None
    return NamedModel(named or folder.name, folder, weights)


def _folder_of(layout: Layout, text: str) -> Path:
    plain = text.rstrip("/")
    if plain == layout.current_model.name:
        if not layout.current_model.is_dir():
            raise RegistryError("no version is in use yet; name a version or a base model")
        return layout.current_model
    if version_number(plain) is not None:
        if not (layout.versions / plain).is_dir():
            raise RegistryError(f"there is no version {plain} in {layout.versions}")
        return layout.versions / plain
    if Path(text).is_dir():
        return Path(text)
    try:
        return find_base(layout, plain or text)
    except BaseModelMissing:
        if (layout.root / plain).is_dir():
            return layout.root / plain
        raise
