"""
Verify versions, backups and the trash by their hashes, and the two links by their targets.

Only reads; restore() in backup.py repairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetuned.errors import ModelError, RegistryError
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.folder import list_files, verify_folder
from finetuned.registry.head import linked_head
from finetuned.registry.trash import list_trash, trashed_version
from finetuned.registry.versions import (
    known_manifest,
    list_versions,
    verify_version,
    version_names,
)


@dataclass(slots=True)
class Findings:
    """
    Which folders are intact and which are damaged.

    Keys are ``v0007``, ``backup v0007``, ``trash v0007-...``.
    """

    intact: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    """Folder -> problem. Also each of the two links, if it names nothing that is intact."""

    damaged_in_trash: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_versions(layout: Layout, names: Sequence[str]) -> Findings:
    """
    Verify the versions *names* and nothing else.

    Raises:
        RegistryError: There is no such version.
    """
    findings = Findings()
    for name in names:
        try:
            verify_version(layout, name)
            findings.intact.append(name)
        except ModelError as error:
            findings.damaged[name] = str(error)
    return findings


def count_bytes(layout: Layout) -> int:
    """
    Return about how many bytes check_all() reads; a file that cannot be seen counts 0.
    """
    return sum(folder_bytes(path) for path, _, _ in _places(layout))


def folder_bytes(folder: Path) -> int:
    """
    Return the size of the regular files in *folder*, in bytes.
    """
    return sum(p.stat().st_size for p in list_files(folder) if p.is_file())


def check_all(layout: Layout, before: Callable[[str, Path], None] | None = None) -> Findings:
    """
    Verify every version, every backup, the trash, the links and the lineage.

    Args:
        before: Called with the name and path of each folder before it is read.
    """
    findings = Findings()
    for path, label, version in _places(layout):
        if before is not None:
            before(label, path)
        problem = _problem(path, version)
        if problem is None:
            findings.intact.append(label)
        elif path.parent == layout.trash:
            findings.damaged_in_trash[label] = problem
        else:
            findings.damaged[label] = problem
    _check_links(layout, findings)
    findings.notes += _orphans(layout)
    return findings


def _places(layout: Layout) -> list[tuple[Path, str, str | None]]:
    """
    Return (folder, label, version that it must hold) of every folder to verify.
    """
    return [
        *((layout.versions / n, n, n) for n in list_versions(layout)),
        *((layout.backups / n, f"backup {n}", n) for n in version_names(layout.backups)),
        *((layout.trash / n, f"trash {n}", trashed_version(n)) for n in list_trash(layout)),
    ]


def _problem(path: Path, version: str | None) -> str | None:
    if version is None:
        return f"{path}: not a version"
    try:
        verify_folder(path, version)
    except (ModelError, OSError) as error:
        return str(error)
    return None


def _check_links(layout: Layout, findings: Findings) -> None:
    for label, read in (("current_model", incumbent), ("models/head", linked_head)):
        try:
            current = read(layout)
        except RegistryError as error:
            findings.damaged[label] = str(error)
            continue
        if current is not None and current not in findings.intact:
            findings.damaged[label] = f"names {current}, which is not intact"


def _orphans(layout: Layout) -> list[str]:
    """
    Name the versions whose way back or base is gone; they cannot be rolled back.
    """
    there = {*list_versions(layout), *version_names(layout.backups)}
    notes = []
    for name in list_versions(layout):
        manifest = known_manifest(layout, name)
        if manifest is None:
            continue
        for what, other in (("way back", manifest.way_back), ("base", manifest.base_version)):
            if other is not None and other not in there:
                notes.append(f"{name}: its {what} {other} is neither a version nor a backup now")
    return notes
