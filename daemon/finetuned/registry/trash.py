"""
models/trash/: every removed folder goes here first, and only here is anything deleted for good.

models/versions/ and models/backups/ are touched only to move one folder out.
core/retention.py decides which folders may be deleted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import structlog

from finetuned.core.head import Parents, ancestors
from finetuned.core.retention import Emptying, Trashed, plan_emptying, version_number
from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import fsync_dir, remove_tree
from finetuned.files.model_manifest import ModelManifest, valid_version_name
from finetuned.layout import Layout
from finetuned.registry.deleted import keep_manifest
from finetuned.registry.folder import intact, read_sealed
from finetuned.registry.head import in_use
from finetuned.registry.numbers import remember_highest
from finetuned.registry.pins import read_pins
from finetuned.registry.versions import (
    known_manifest,
    list_versions,
    registry_lock,
    version_names,
)

log = structlog.get_logger()

_REMOVING = ".removing-"


def trash_path(layout: Layout, name: str, *, backup: bool = False) -> Path:
    """
    Return a free path in the trash for a folder of version *name*.

    For example ``v0007-20261120T095052Z``, or ``v0007-backup-20261120T095052Z`` for its backup.
    """
    layout.trash.mkdir(exist_ok=True)
    stem = f"{name}-{'backup-' if backup else ''}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, n = layout.trash / stem, 1
    while path.exists():
        n += 1
        path = layout.trash / f"{stem}-{n}"
    return path


def to_trash(layout: Layout, folder: Path) -> Path:
    """
    Move the folder of a version or of a backup into the trash. Only under the registry's lock.

    Returns:
        Where it is now.

    Raises:
        OSError: The file system refused; the folder was not moved, or a power cut
            may put it back.
    """
    target = trash_path(layout, folder.name, backup=folder.parent == layout.backups)
    os.rename(folder, target)
    fsync_dir(layout.trash)
    fsync_dir(folder.parent)
    return target


def withdraw(
    layout: Layout, recorded: Collection[str], unwanted: Callable[[ModelManifest], bool]
) -> None:
    """
    Move versions to the trash on which no verdict is on record.

    Args:
        recorded: The versions of the caller's own records; they stay, as does what a link names.
        unwanted: Whether another version, by its manifest, goes.

    Raises:
        RegistryError: A link is out of order; nothing was moved.
        OSError: The file system refused; it can be asked again.
    """
    with registry_lock(layout):
        gone = []
        for name in list_versions(layout):
            try:
                if name not in recorded and unwanted(read_sealed(layout.versions / name, name)):
                    gone.append(name)
            except ModelError:
                continue  # damaged: a person decides
        for name in sorted({*gone} - in_use(layout).keys()) if gone else ():
            to_trash(layout, layout.versions / name)
            log.warning("version_trashed", version=name, by="no verdict on record")


def list_trash(layout: Layout) -> list[str]:
    """
    Return the names of the folders in the trash, oldest version first.
    """
    if not layout.trash.is_dir():
        return []
    folders = [p.name for p in layout.trash.iterdir() if not p.name.startswith(_REMOVING)]
    return sorted(
        folders, key=lambda name: (version_number(trashed_version(name) or "") or 0, name)
    )


def is_half_emptied(layout: Layout) -> bool:
    """
    Return whether an emptying was interrupted within a folder; the next one removes the rest.
    """
    return any(layout.trash.glob(f"{_REMOVING}*"))


def trashed_version(folder: str) -> str | None:
    """
    Return the version whose folder is named *folder* in the trash; None if it was no version.
    """
    return valid_version_name(folder.partition("-")[0])


def empty_trash(
    layout: Layout,
    *,
    confirm: Collection[str] = (),
    parents: Parents = MappingProxyType({}),
    only: Collection[str] | None = None,
    apply: bool = False,
) -> Emptying:
    """
    Plan which folders of the trash may be deleted for good, and with *apply* delete them.

    The highest number ever used is written down first, so that a version number is
    never used twice, even if no folder has it any more. The manifest of a version is kept in
    models/deleted/, so that what it learnt is known even if the journal is lost.

    Args:
        confirm: Folders of the trash that a person named; they are deleted in any case.
        parents: Version -> the version it was trained on, by the caller's own records; an old
            head may be deleted if the head was trained on top of it.
        only: The folders that may be deleted with *apply*; None for all. What else lies in
            the trash is taken to have no other copy.
        apply: False only plans and changes nothing. Either way every other copy of a
            version that would be deleted is read and verified.

    Raises:
        RegistryError: A confirmed name is not in the trash, or a link or
            the pins are out of order; nothing was deleted.
    """
    if not apply:
        return _plan(layout, confirm, parents, only)
    with registry_lock(layout):
        plan = _plan(layout, confirm, parents, only)
        if only is not None:
            plan = Emptying({n: why for n, why in plan.delete.items() if n in only}, plan.stay)
        remember_highest(layout)
        for rest in layout.trash.glob(f"{_REMOVING}*"):  # left by an emptying that was interrupted
            shutil.rmtree(rest)
        for name in plan.delete:
            version = trashed_version(name)
            if version is not None:
                keep_manifest(layout, layout.trash / name, version)
            _remove(layout.trash / name)
    if plan.delete:
        log.warning("trash_emptied", names=list(plan.delete))
    return plan


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()  # a file that somebody put here, or the rest of a folder that a disk lost


def expendable_heads(layout: Layout, parents: Parents) -> list[str]:
    """
    Return the folders of old heads that empty_trash() deletes unless a file is damaged.

    Reads manifests and no other file. Heads that training left are not among them: nothing has
    learnt what they learnt, so only a person deletes them.

    Args:
        parents: As of empty_trash().

    Returns:
        Oldest version first.

    Raises:
        RegistryError: As empty_trash().
    """
    trash = {name: _look_at(layout, name) for name in list_trash(layout)}
    plan = plan_emptying(
        trash,
        copies={},
        protected=_protected(layout),
        confirmed=(),
        learnt_by=_learnt_by(in_use(layout), parents),
    )
    return [n for n, found in trash.items() if found.verdict == "held" and n in plan.delete]


def _plan(
    layout: Layout, confirm: Collection[str], parents: Parents, only: Collection[str] | None
) -> Emptying:
    names = list_trash(layout)
    strange = sorted(set(confirm) - set(names))
    if strange:
        raise RegistryError(f"{strange[0]!r} is not in {layout.trash}; names are whole, with time")
    trash = {name: _look_at(layout, name) for name in names}
    asked = {found.version for name, found in trash.items() if only is None or name in only}
    used = [name for name in in_use(layout) if intact(layout.versions / name, name) is not None]
    return plan_emptying(
        trash,
        copies={v: copy for v in asked if v is not None and (copy := _other_copy(layout, v))},
        protected=_protected(layout),
        confirmed=confirm,
        learnt_by=_learnt_by(used, parents),
    )


def _learnt_by(used: Iterable[str], parents: Parents) -> dict[str, str]:
    """Return version -> the one of *used* that was trained on top of it."""
    return {below: name for name in used for below in ancestors(name, parents)}


def _look_at(layout: Layout, folder: str) -> Trashed:
    version = trashed_version(folder)
    if version is None:
        return Trashed(None, known=False)
    try:
        manifest = read_sealed(layout.trash / folder, version)
    except (ModelError, OSError):
        return Trashed(version, known=False)
    return Trashed(
        version,
        known=True,
        verdict=manifest.verdict,
        way_back=manifest.way_back,
        base_version=manifest.base_version,
    )


def _other_copy(layout: Layout, version: str) -> str | None:
    for place in (layout.versions, layout.backups):
        if (place / version).is_dir() and intact(place / version, version) is not None:
            return f"{place.name}/{version}"
    return None


def _protected(layout: Layout) -> dict[str, str]:
    """
    Return version -> reason for every version that stays in the trash even if it was rejected.
    """
    why: dict[str, str] = {}
    for name in {*list_versions(layout), *version_names(layout.backups)}:
        manifest = known_manifest(layout, name)
        if manifest is None:
            if (layout.versions / name).is_dir():
                raise RegistryError(
                    f"the manifest of {name} is damaged, so its parent and base are not known; "
                    f"restore or delete {name} first"
                )
            continue
        for below in (manifest.way_back, manifest.base_version):
            if below is not None:
                why[below] = f"{name} was built on it"
    why |= dict.fromkeys(read_pins(layout), "pinned")
    return why | in_use(layout)
