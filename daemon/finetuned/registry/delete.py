"""
Deletion of one version, or of one backup, by name: into the trash.

One command must never lose a version together with its backup. So each function
here moves one folder out of one place, by its name typed in full, and refuses
if another version needs it. Does not delete anything for good; trash.py does.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from finetuned.core.retention import built_on
from finetuned.errors import RegistryError
from finetuned.files.atomic import fsync_dir
from finetuned.layout import Layout
from finetuned.registry.backup import last_verified_backup
from finetuned.registry.folder import intact
from finetuned.registry.head import in_use
from finetuned.registry.pins import read_pins
from finetuned.registry.trash import list_trash, to_trash
from finetuned.registry.versions import (
    known_manifest,
    list_versions,
    registry_lock,
    version_names,
)

log = structlog.get_logger()


def delete(layout: Layout, name: str, *, confirm: str | None) -> Path:
    """
    Move version *name* to the trash; its backup stays where it is.

    Args:
        confirm: The name again, as a person typed it.

    Returns:
        Its folder in the trash; also if it was there already, so that a deletion
        can be repeated after a crash.

    Raises:
        RegistryError: There is no such version, the name was not confirmed, or the
            version is needed: it is in use, pinned, the last good one, or
            another version was built on it. Nothing was changed.
    """
    _check_confirmed(name, confirm)
    with registry_lock(layout):
        folder = layout.versions / name
        if name not in list_versions(layout):
            return _found_in_trash(layout, folder)
        below = _lineages(layout, without=name)
        _check_not_in_use(layout, name, below)
        children = [n for n, lineage in below.items() if name in lineage and n != name]
        children = [n for n in children if (layout.versions / n).is_dir()]
        if children:
            raise RegistryError(f"{name} stays: {', '.join(children)} was built on it")
        _check_not_last_good(layout, name)
        moved = to_trash(layout, folder)
    log.warning("version_trashed", version=name, by="name")
    return moved


def delete_backup(layout: Layout, name: str, *, confirm: str | None) -> Path:
    """
    Move the backup of version *name* to the trash; the version stays where it is.

    Args and Returns: see delete().

    Raises:
        RegistryError: There is no such backup, the name was not confirmed, the
            version itself is not intact, or it is in use, pinned, or the version
            in use was built on it. Nothing was changed.
    """
    _check_confirmed(name, confirm)
    with registry_lock(layout):
        folder = layout.backups / name
        if name not in version_names(layout.backups):
            return _found_in_trash(layout, folder)
        if intact(layout.versions / name, name) is None:
            raise RegistryError(
                f"the backup of {name} stays: {layout.versions / name} is missing or damaged, "
                f"so this may be its last copy; repair it with: finetuned versions restore {name}"
            )
        _check_not_in_use(layout, name, _lineages(layout, without=name))
        moved = to_trash(layout, folder)
    log.warning("version_trashed", version=name, by="name", backup=True)
    return moved


def _check_confirmed(name: str, confirm: str | None) -> None:
    if confirm is None:
        raise RegistryError(f"nothing was deleted; if you mean it add: --confirm {name}")
    if confirm != name:
        raise RegistryError(f"nothing was deleted: {confirm!r} was typed, which is not {name!r}")


def _found_in_trash(layout: Layout, folder: Path) -> Path:
    """
    Return where *folder* is in the trash if it was moved there before, and make that durable.
    """
    backup = folder.parent == layout.backups
    stem = f"{folder.name}-{'backup-' if backup else ''}"
    for name in reversed(list_trash(layout)):
        if name.startswith(stem) and name[len(stem) :][:1].isdigit():
            fsync_dir(layout.trash)
            fsync_dir(folder.parent)
            return layout.trash / name
    what = "backup of" if backup else "version"
    known = ", ".join(version_names(folder.parent)[-5:]) or "none"
    raise RegistryError(f"there is no {what} {folder.name}; the newest are: {known}")


def _lineages(layout: Layout, *, without: str) -> dict[str, tuple[str | None, str | None]]:
    """
    Return the parent and the base version of every version and backup.

    Args:
        without: The version that is deleted; its own manifest may be damaged.
    """
    found = {}
    for name in {*list_versions(layout), *version_names(layout.backups)}:
        manifest = known_manifest(layout, name)
        if manifest is not None:
            found[name] = (manifest.parent, manifest.base_version)
        elif name == without:
            found[name] = (None, None)  # its own parents do not matter; the versions built on it do
        else:
            raise RegistryError(
                f"the manifest of {name} is damaged, so its parent and base are not known; "
                f"restore it, or move it by hand to {layout.trash}"
            )
    return found


def _check_not_in_use(
    layout: Layout, name: str, below: dict[str, tuple[str | None, str | None]]
) -> None:
    parents = {n: parent for n, (parent, _) in below.items()}
    bases = {n: base for n, (_, base) in below.items()}
    for current, what in in_use(layout).items():
        if name == current:
            raise RegistryError(f"{name} stays: it is {what}")
        if name in built_on(current, parents, bases):
            raise RegistryError(f"{name} stays: {current}, which is {what}, was built on it")
    reason = read_pins(layout).get(name)
    if reason is not None:
        raise RegistryError(
            f"{name} stays: it is pinned ({reason.get('reason')}); "
            f"if you mean it: finetuned versions unpin {name}"
        )


def _check_not_last_good(layout: Layout, name: str) -> None:
    if name == last_verified_backup(layout):
        raise RegistryError(
            f"{name} stays: its backup is the newest that verifies, so it is the last known good"
        )
    manifest = intact(layout.versions / name, name)
    if manifest is None or manifest.verdict == "rejected":
        return
    for other in reversed(list_versions(layout)):
        if other != name:
            found = intact(layout.versions / other, other)
            if found is not None and found.verdict != "rejected":
                return
    raise RegistryError(f"{name} stays: it is the only version left that is good and intact")
