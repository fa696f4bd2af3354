"""
One version folder: what must be in it, and whether all of it is unchanged.

The manifest holds a hash of every file, and a hash of its own facts (parent,
verdict, scores), the seal: a flipped bit in a parent's name would roll somebody
back to the wrong model. Does not know whether the folder is in use, a backup, or trash.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from finetuned.errors import CorruptFile, ModelError
from finetuned.files.manifest import SCHEMA_VERSION, read_manifest, verify_manifest
from finetuned.files.model_manifest import ModelManifest
from finetuned.layout import MANIFEST

STATE_FILES = ("training_state/optimizer.safetensors", "training_state/state.json")
"""Adam's moments and the schedule; without them the next dataset starts with no moments."""

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})

FACTS_SHA256 = "facts_sha256"
SEALED = "facts_sealed"
"""Key that says that FACTS_SHA256 must be there, so that a flipped bit in its name is noticed."""

_DAMAGE = {errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EISDIR, errno.ENOTDIR}
"""Errors of a disk or file system that lost the bytes; trying again does not help."""


def list_files(folder: Path) -> list[Path]:
    """
    Return everything under *folder* that is not a folder, links included, sorted.
    """
    return sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())


def check_candidate(folder: Path) -> None:
    """
    Check that *folder* holds what a version must, and nothing that it must not.

    Raises:
        ModelError: It is incomplete, or holds a pickle or something that is not a regular file.
    """
    files = {str(p.relative_to(folder)): p for p in list_files(folder)}
    adapter = {"adapter_model.safetensors", "adapter_config.json"} <= files.keys()
    full = "config.json" in files and any(
        name.startswith("model") and name.endswith(".safetensors") for name in files
    )
    if not (adapter or full):
        raise ModelError(
            f"{folder}: neither an adapter (adapter_model.safetensors, adapter_config.json) "
            "nor a model (config.json, model*.safetensors)"
        )
    for name in STATE_FILES:
        if name not in files:
            raise ModelError(f"{folder}: {name} is missing")
    for name, path in files.items():
        if path.is_symlink() or not path.is_file():
            raise ModelError(f"{path}: not a regular file")
        if path.suffix.lower() in PICKLES:
            raise ModelError(f"{folder}: {name} is a pickle; only safetensors and JSON are kept")


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return *facts* with their own hash, ready for write_manifest().
    """
    known = {k: v for k, v in facts.items() if k not in (FACTS_SHA256, SEALED)}
    known |= {SEALED: True, "schema_version": SCHEMA_VERSION}
    return known | {FACTS_SHA256: _hash_of(known)}


def _hash_of(facts: Mapping[str, Any]) -> str:
    hashed = {k: v for k, v in facts.items() if k not in (FACTS_SHA256, "files")}
    return hashlib.sha256(orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_sealed(folder: Path, name: str) -> ModelManifest:
    """
    Return the manifest of version *name* in *folder* without reading its other files.

    Raises:
        ModelError: There is none, it is another version's, or a fact in it is damaged.
        CorruptFile: Its facts are not what they were when it was written.
    """
    with _disk_damage(folder):
        document = read_manifest(folder)
    if document.get("version") != name:
        raise ModelError(f"{folder}: its manifest says it is {document.get('version')!r}")
    said = document.get(FACTS_SHA256)
    if said is not None or SEALED in document:  # versions from before the seal have neither key
        found = _hash_of(document)
        if found != said:
            raise CorruptFile(folder / MANIFEST, f"facts of sha256 {found}", f"sha256 {said}")
    return ModelManifest.from_json(document, folder / MANIFEST)


def verify_folder(path: Path, name: str) -> ModelManifest:
    """
    Check that the folder *path* holds version *name*, all of it and nothing else.

    Returns:
        Its manifest.

    Raises:
        ModelError, CorruptFile: It does not.
    """
    manifest = read_sealed(path, name)
    with _disk_damage(path):
        verify_manifest(path)
    for file in list_files(path):
        relative = str(file.relative_to(path))
        if relative != MANIFEST and relative not in manifest.bytes_by_file:
            raise CorruptFile(file, "a file that was added later", "nothing")
    return manifest


def intact(folder: Path, name: str) -> ModelManifest | None:
    """
    Return the manifest of version *name* if *folder* holds it intact, else None.
    """
    try:
        return verify_folder(folder, name)
    except (ModelError, OSError):
        return None


@contextmanager
def _disk_damage(folder: Path) -> Iterator[None]:
    """
    Raise ModelError, which leads to the backup, for a disk error that will not go away.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _DAMAGE:
            raise
        raise ModelError(f"{folder}: the disk cannot read it ({error})") from error
