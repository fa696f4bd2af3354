"""
What the manifest of a model says: of a version, of its backup, or of a run's candidate.

The one reader of that JSON; manifests of earlier releases lack some keys, which
then have the value that was meant at the time. Facts that only people read
(totals, kernels, torch) stay in ``document``. Does not compare files with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from finetuned.core.line_set import LineSet
from finetuned.core.retention import version_number
from finetuned.errors import ModelError
from finetuned.files.manifest import read_manifest
from finetuned.layout import MANIFEST

_T = TypeVar("_T")

HELD_OUT_LOSSES = "held_out_losses"
"""In the manifest of a search's trial: ``before`` and ``after``, each with ``new`` and ``old``."""


def valid_version_name(value: object) -> str | None:
    """
    Return *value* if it is a version name, else None.

    Text from a manifest or from a folder's name is used in paths and must not be trusted.
    """
    return value if isinstance(value, str) and version_number(value) is not None else None


@dataclass(frozen=True, slots=True)
class TrainedDataset:
    """
    One dataset that a model was trained on.
    """

    dataset_id: str
    name: str
    """The file's name in the inbox; empty if it is not known."""
    sha256: str | None
    n_examples: int
    """Training sequences in the steps of the job, repeats counted."""
    n_supervised_tokens: int
    unseen: LineSet
    """Lines with rows to train that no step of the job had; empty in older manifests."""
    unseen_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """
    The lineage of a model, its verdict, and its files.
    """

    version: str | None
    """The version that the folder is; None for a candidate."""
    run_id: str | None
    job_id: str | None
    parent: str | None
    """The version it was trained on top of; None for one made from the base model."""
    way_back: str | None
    """
    The version to go back to from it: the release when it was judged, its parent if the
    manifest is older than heads; None is the base model.
    """
    base: str | None
    """The configured base model, as ``model.base`` names it."""
    base_version: str | None
    """The version, a full model, that its adapter sits on; None for the configured base."""
    consolidates: str | None
    """The version whose adapter was merged into this full model; None for an adapter."""
    verdict: str | None
    """promoted, held or rejected; None for a candidate."""
    reason: str | None
    """Why the gate decided so."""
    created_at: str | None
    """RFC 3339, UTC."""
    eval_run_id: str | None
    datasets: tuple[TrainedDataset, ...]
    job_steps: int
    """Optimizer steps of the job, >= 0."""
    planned_steps: int
    """Optimizer steps that the job would have without an early stop, >= 0; 0 if not known."""
    is_merged: bool
    """Whether its weights were computed from those of other versions, and not trained as such."""
    bytes_by_file: Mapping[str, int]
    """Relative path -> size, in bytes, of every file that the folder must hold."""
    document: Mapping[str, Any]
    """The whole JSON object."""

    @property
    def size_bytes(self) -> int:
        """Size of its files together."""
        return sum(self.bytes_by_file.values())

    @property
    def training_seconds(self) -> float | None:
        """Wall time of the steps and live evals of its job, > 0; None if it does not say."""
        totals = self.document.get("totals")
        if not isinstance(totals, dict):
            return None
        parts = [totals.get(key) for key in ("seconds_steps", "seconds_eval")]
        return sum(s for s in parts if isinstance(s, int | float) and s > 0) or None

    @classmethod
    def from_json(cls, document: Mapping[str, Any], path: Path) -> ModelManifest:
        """
        Return what *document*, the JSON in file *path*, says.

        A key that is missing or null has no value here; keys that are not known stay
        in ``document``.

        Raises:
            ModelError: A key has a value of another type, a version name that is none,
                or a table of files that is damaged.
        """
        text, name = _Reader(document, path, _text), _Reader(document, path, valid_version_name)
        count = _Reader(document, path, _count)
        return cls(
            version=name("version"),
            run_id=text("run_id"),
            job_id=text("job_id"),
            parent=name("parent"),
            way_back=name("release") if "release" in document else name("parent"),
            base=text("base"),
            base_version=name("base_version"),
            consolidates=name("consolidates"),
            verdict=text("verdict"),
            reason=text("reason"),
            created_at=text("created_at"),
            eval_run_id=text("eval_run_id"),
            datasets=_datasets(document, path),
            job_steps=count("job_steps") or 0,
            planned_steps=count("planned_steps") or 0,
            is_merged=bool(document.get("merged_from")),
            bytes_by_file=_bytes_by_file(document, path),
            document=document,
        )


def read_model_manifest(folder: Path) -> ModelManifest:
    """
    Return what the manifest of the model in *folder* says, without checking its files.

    Raises:
        ModelError: There is no manifest, or it is damaged.
        OSError: The file system refused.
    """
    return ModelManifest.from_json(read_manifest(folder), folder / MANIFEST)


@dataclass(frozen=True, slots=True)
class _Reader(Generic[_T]):
    """
    Reads keys of one kind from an object of a manifest.
    """

    values: Mapping[str, Any]
    path: Path
    parse: Callable[[object], _T | None]

    def __call__(self, key: str) -> _T | None:
        value = self.values.get(key)
        if value is None:
            return None
        parsed = self.parse(value)
        if parsed is None:
            raise ModelError(f"{self.path}: {key!r} is damaged: {value!r}")
        return parsed


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _line_set(value: object) -> LineSet | None:
    try:
        return LineSet.from_text(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _datasets(document: Mapping[str, Any], path: Path) -> tuple[TrainedDataset, ...]:
    rows = document.get("datasets") or []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ModelError(f"{path}: 'datasets' is damaged: expected a list of objects")
    found = []
    for row in rows:
        text, count = _Reader(row, path, _text), _Reader(row, path, _count)
        dataset_id = text("dataset_id")
        if dataset_id is None:
            raise ModelError(f"{path}: a dataset has no 'dataset_id'")
        found.append(
            TrainedDataset(
                dataset_id,
                text("name") or "",
                text("sha256"),
                count("n_examples") or 0,
                count("n_supervised_tokens") or 0,
                _Reader(row, path, _line_set)("unseen_lines") or LineSet(),
                text("unseen_because"),
            )
        )
    return tuple(found)


def _bytes_by_file(document: Mapping[str, Any], path: Path) -> dict[str, int]:
    files = document.get("files")
    if isinstance(files, dict):
        entries = [entry for entry in files.values() if isinstance(entry, dict)]
        good = [
            entry
            for entry in entries
            if type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
        ]
        if len(good) == len(files):
            return {name: entry["bytes"] for name, entry in files.items()}
    raise ModelError(f"{path}: its table of files is damaged")
