"""
Which full model a version is, or sits on: what has to be loaded first.

A version is an adapter on the configured base model, an adapter on a version
that was consolidated, or a full model of its own. Does not load anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.files.base_model import find_base
from finetuned.files.manifest import read_manifest
from finetuned.files.model_manifest import ModelManifest
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.versions import read_version


@dataclass(frozen=True, slots=True)
class Weights:
    """
    Where a model's weights are.
    """

    base: Path
    """Directory of a full model."""
    folder: Path | None
    """The version whose adapter, or whose full weights, come on top; None is the base alone."""
    base_version: str | None
    """Which version the base is; None where it is the configured base model."""


def weights_of(layout: Layout, version: str | None, configured: str) -> Weights:
    """
    Return where the model of *version* is.

    Args:
        layout: The root.
        version: A version; None is the base model.
        configured: ``model.base``.

    Raises:
        BaseModelMissing: The base is not there.
        RegistryError, ModelError: The version, or the one it sits on, is not there.
    """
    if version is None:
        return Weights(find_base(layout, configured), None, None)
    found = read_version(layout, version)
    if found.manifest.consolidates:
        return Weights(found.path, None, version)
    return _on_base(layout, found.path, found.manifest, configured)


def weights_in(layout: Layout, folder: Path, configured: str) -> Weights:
    """
    Return where the model in *folder* is: a version, current_model, a candidate or a base model.

    Args:
        layout: The root that it belongs to.
        folder: Any directory with a model or an adapter.
        configured: ``model.base``, on which an adapter without a manifest must sit.

    Raises:
        BaseModelMissing, RegistryError, ModelError: As weights_of.
    """
    folder = folder.resolve()
    if not (folder / MANIFEST).is_file():
        if not (folder / "adapter_config.json").is_file():
            return Weights(folder, None, None)
        return Weights(find_base(layout, configured), folder, None)
    manifest = ModelManifest.from_json(read_manifest(folder), folder / MANIFEST)
    if manifest.consolidates:
        return Weights(folder, None, manifest.version)
    return _on_base(layout, folder, manifest, configured)


def _on_base(layout: Layout, folder: Path, manifest: ModelManifest, configured: str) -> Weights:
    own = manifest.base_version
    if own is not None:
        return Weights(read_version(layout, own).path, folder, own)
    return Weights(find_base(layout, manifest.base or configured), folder, None)
