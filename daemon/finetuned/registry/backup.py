"""
Backups of versions in models/backups/: made, verified, and copied back.

Backups are real copies and never hard links: an accidental write into a version
must not reach its backup. Prune never touches models/backups/, so no single
deletion loses both copies. Does not know which versions get a backup.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import structlog

from finetuned.core.retention import version_number
from finetuned.errors import RegistryError
from finetuned.files.atomic import fsync_dir, fsync_tree, publish_dir, write_atomic
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.rename import exchange
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.commit import BUILDING, clear_building
from finetuned.registry.folder import intact, verify_folder
from finetuned.registry.trash import to_trash, trash_path
from finetuned.registry.versions import registry_lock, verify_version, version_names

log = structlog.get_logger()


def backup(layout: Layout, name: str) -> Path:
    """
    Copy version *name* to models/backups/, and verify what the disk has of the copy.

    A backup that is already there and intact is left alone; a damaged one goes
    to the trash first.

    Returns:
        The folder of the backup.

    Raises:
        RegistryError, ModelError: There is no such version, or it is not intact.
        OSError: The file system refused; no backup of that name appeared.
    """
    final = layout.backups / name
    with registry_lock(layout):
        version = verify_version(layout, name)
        clear_building(layout.backups)
        if final.exists():
            if intact(final, name):
                return final
            to_trash(layout, final)
        building = layout.backups / f"{BUILDING}{name}"
        _copy(version.path, building)
        verify_folder(building, name)
        publish_dir(building, final)
    log.info("version_backed_up", version=name)
    return final


def last_verified_backup(layout: Layout) -> str | None:
    """
    Return the newest version whose backup is intact right now, or None. Reads its files.
    """
    for name in reversed(version_names(layout.backups)):
        if intact(layout.backups / name, name):
            return name
    return None


def restore(layout: Layout, name: str) -> bool:
    """
    Rebuild version *name* from its backup if it is missing or damaged.

    The damaged folder and the good copy swap names in one rename, so that
    current_model resolves throughout; the damaged folder ends in the trash.

    Returns:
        Whether anything was done; False if the version was intact.

    Raises:
        RegistryError: There is no backup of it.
        ModelError: The backup is damaged too; nothing was changed.
        OSError: The file system refused; the version folder is as before.
    """
    source, final = layout.backups / name, layout.versions / name
    if version_number(name) is None or not source.is_dir():
        known = ", ".join(version_names(layout.backups)) or "none"
        raise RegistryError(f"there is no backup of {name!r}; backups: {known}")
    with registry_lock(layout):
        verify_folder(source, name)
        if intact(final, name):
            return False
        clear_building(layout.versions)
        if final.exists():
            # Built in the trash, where the damaged folder has to end: one swap does both moves.
            building = trash_path(layout, name)
        else:
            building = layout.versions / f"{BUILDING}{name}"
        _copy(source, building)
        verify_folder(building, name)
        if final.exists():
            fsync_tree(building)
            exchange(building, final)
            fsync_dir(layout.versions)
            fsync_dir(layout.trash)
        else:
            publish_dir(building, final)
    log.warning("version_restored", version=name)
    return True


def _copy(source: Path, target: Path) -> None:
    """
    Copy the files that the manifest of *source* names, and the manifest last.
    """
    target.mkdir(parents=True)
    for relative in read_model_manifest(source).bytes_by_file:
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / relative, copy)
        copy.chmod(0o444)
        with copy.open("rb") as f:
            os.fsync(f.fileno())
            # Dropped from the page cache, so that the verification reads the disk.
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    write_atomic(target / MANIFEST, (source / MANIFEST).read_bytes(), mode=0o444)
