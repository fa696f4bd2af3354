"""
Models and suites by the names that people give them.

Loads no torch, so that a wrong name is reported at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetuned.core.retention import version_number
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite, load_suite, suite_files
from finetuned.errors import BaseModelMissing, ModelError, RegistryError, SuiteError
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.base_model import find_base
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.shipped import find_suite
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


def pick_suites(layout: Layout, wanted: Sequence[str], limit: int | None) -> list[PickedSuite]:
    """
    Return the suites that *wanted* names, or all of benchmarks/; unreadable ones have a problem.

    Args:
        layout: The root.
        wanted: Names without ``.jsonl``, or files. A name that benchmarks/ does not have
            may be that of a suite that comes with the program.
        limit: First items of each suite, >= 1; None takes all.

    Raises:
        SuiteError: No suite was found, or two have the same name and could be mixed up.
    """
    files = [_suite_file(layout, text) for text in wanted] or suite_files(layout.benchmarks)
    files = list(dict.fromkeys(path.resolve() for path in files))
    if not files:
        raise SuiteError(layout.benchmarks, None, f"no suite in {layout.benchmarks}")
    names: dict[str, Path] = {}
    for path in files:
        if (other := names.setdefault(path.stem, path)) != path:
            raise SuiteError(path, None, f"{other} and {path} have the same name; rename one")
    return [_picked(path, limit) for path in files]


def _suite_file(layout: Layout, text: str) -> Path:
    if not ("/" in text or text.endswith(".jsonl")):
        return find_suite(layout, text) or layout.benchmarks / f"{text}.jsonl"
    named = layout.benchmarks / f"{text}.jsonl"
    if named.is_file():
        return named
    path = Path(text)
    return path if path.exists() else layout.root / text


def _picked(path: Path, limit: int | None) -> PickedSuite:
    try:
        suite = load_suite(path)
    except SuiteError as error:
        return PickedSuite(Suite(path.stem, SuiteOrigin.BENCHMARK, path.name, "", ()), str(error))
    return PickedSuite(replace(suite, questions=suite.questions[:limit]))
