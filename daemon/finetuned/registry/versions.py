"""
Published models: immutable folders in models/versions/, read and verified.

There is no database beside the folders, so the registry can be read, and
repaired, with ls and ln. Readers need no lock, since a version folder appears
whole and never changes; writers take registry_lock(). Does not know how a
version was made, or which one is in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetuned.core.retention import version_number
from finetuned.errors import ModelError, RegistryError
from finetuned.files.lock import held
from finetuned.files.model_manifest import ModelManifest
from finetuned.layout import Layout
from finetuned.registry.folder import read_sealed, verify_folder

LOCK = ".registry.lock"


@dataclass(frozen=True, slots=True)
class Version:
    """
    One version folder and what its manifest says.
    """

    name: str
    path: Path
    manifest: ModelManifest


@contextmanager
def registry_lock(layout: Layout, *, wait_seconds: float = 30.0) -> Iterator[None]:
    """
    Be the only writer of versions, backups, trash, pins and current_model.

    Not reentrant: the functions that write take it themselves.

    Raises:
        LockHeld: Another process still had it after *wait_seconds*.
    """
    with held(layout.models / LOCK, wait_seconds=wait_seconds):
        yield


def list_versions(layout: Layout) -> list[str]:
    """
    Return the names of all version folders, oldest first, intact or not.
    """
    return version_names(layout.versions)


def version_names(folder: Path) -> list[str]:
    """
    Return the names in *folder* that are version names, oldest first.
    """
    try:
        found = [p.name for p in folder.iterdir() if version_number(p.name) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: version_number(name) or 0)


def read_version(layout: Layout, name: str) -> Version:
    """
    Return version *name* without checking its files.

    Raises:
        RegistryError: There is no such version.
        ModelError: Its manifest is missing, unreadable, changed, or another version's.
    """
    if version_number(name) is None:
        raise RegistryError(f"{name!r} is not a version name; they look like v0007")
    path = layout.versions / name
    if not path.is_dir():
        known = ", ".join(list_versions(layout)[-5:]) or "none"
        raise RegistryError(f"there is no version {name}; the newest are: {known}")
    return Version(name, path, read_sealed(path, name))


def known_manifest(layout: Layout, name: str) -> ModelManifest | None:
    """
    Return the manifest of version *name*, or that of its backup if the version's is damaged.

    Returns:
        None if neither is there, or neither can be trusted.
    """
    for folder in (layout.versions, layout.backups):
        try:
            return read_sealed(folder / name, name)
        except (ModelError, OSError):
            pass  # the other copy may do
    return None


def verify_version(layout: Layout, name: str) -> Version:
    """
    Return version *name* after comparing every file with the manifest.

    Raises:
        RegistryError: There is no such version.
        ModelError: It is incomplete, or says it is another version.
        CorruptFile: A file is missing, changed, or was added later.
    """
    version = read_version(layout, name)
    verify_folder(version.path, name)
    return version


def verify_usable(layout: Layout, name: str) -> None:
    """
    Verify version *name* and every version that its weights need, each below the other.

    Raises:
        RegistryError, CorruptFile, ModelError: As verify_version, of any of them.
    """
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current not in seen:
        seen.add(current)
        current = verify_version(layout, current).manifest.base_version
