"""
The folders of a version's weights: the full model, and the adapter on top of it.

A version is an adapter on the configured base model, an adapter on a consolidated
version, or a full model of its own. Does not load anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.files.base_model import find_base
from finetuned.files.model_manifest import ModelManifest, read_model_manifest
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.versions import read_version


@dataclass(frozen=True, slots=True)
class Weights:
    """
    The folders that hold a model's weights.
    """

    base: Path
    """Directory of a full model."""
    folder: Path | None
    """The version whose adapter goes on top of the base; None if the base is the whole model."""
    base_version: str | None
    """The version that the base is; None for the configured base model."""


def weights_of(layout: Layout, version: str | None, configured: str) -> Weights:
    """
    Return the folders of the model that *version* is.

    Args:
        layout: The root.
        version: A version, or None for the base model.
        configured: ``model.base``.

    Raises:
        BaseModelMissing: The base model is missing.
        RegistryError, ModelError: The version, or the version that it sits on, is missing.
    """
    if version is None:
        return Weights(find_base(layout, configured), None, None)
    found = read_version(layout, version)
    if found.manifest.consolidates:
        return Weights(found.path, None, version)
    return _on_base(layout, found.path, found.manifest, configured)


def weights_in(layout: Layout, folder: Path, configured: str) -> Weights:
    """
    Return the folders of the model in *folder*: a version, current_model, a candidate or a base.

    Args:
        layout: The root that it belongs to.
        folder: Any directory with a model or an adapter.
        configured: ``model.base``, the base of an adapter that has no manifest.

    Raises:
        BaseModelMissing, RegistryError, ModelError: As weights_of.
    """
    folder = folder.resolve()
    if not (folder / MANIFEST).is_file():
        if not (folder / "adapter_config.json").is_file():
            return Weights(folder, None, None)
        return Weights(find_base(layout, configured), folder, None)
    manifest = read_model_manifest(folder)
    if manifest.consolidates:
        return Weights(folder, None, manifest.version)
    return _on_base(layout, folder, manifest, configured)


def _on_base(layout: Layout, folder: Path, manifest: ModelManifest, configured: str) -> Weights:
    own = manifest.base_version
    if own is not None:
        return Weights(read_version(layout, own).path, folder, own)
    return Weights(find_base(layout, manifest.base or configured), folder, None)
