"""
Repair of a damaged version from its backup, and the search for an intact ancestor.

Knows parents, base versions and backups; does not know the journal, and never
moves current_model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import structlog

from finetuned.errors import ModelError, RegistryError
from finetuned.files.model_manifest import valid_version_name
from finetuned.layout import Layout
from finetuned.registry.backup import restore
from finetuned.registry.folder import intact
from finetuned.registry.versions import (
    Version,
    known_manifest,
    verify_usable,
    verify_version,
)

log = structlog.get_logger()


def repair(layout: Layout, name: str) -> None:
    """
    Verify version *name* and every version below it; rebuild the damaged ones from backups.

    Raises:
        RegistryError, ModelError: One of them is damaged and has no intact backup.
        OSError: The file system refused; asking again may help.
    """
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current not in seen:
        seen.add(current)
        current = _repaired(layout, current).manifest.base_version


def _repaired(layout: Layout, name: str) -> Version:
    try:
        return verify_version(layout, name)
    except (ModelError, RegistryError) as error:
        log.error("version_corrupt", version=name, error=str(error))
    restore(layout, name)
    return verify_version(layout, name)


def usable(layout: Layout, name: str) -> bool:
    """
    Return whether repair() would succeed: each part is intact as a version or as a backup.

    Reads every file of them and changes nothing.
    """
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current not in seen:
        seen.add(current)
        places = (layout.versions / current, layout.backups / current)
        manifest = next((m for p in places if (m := intact(p, current)) is not None), None)
        if manifest is None:
            return False
        current = manifest.base_version
    return True


def is_intact(layout: Layout, name: str) -> bool:
    """
    Return whether version *name* and every version that it sits on are intact in place.
    """
    try:
        verify_usable(layout, name)
    except (ModelError, RegistryError):
        return False
    return True


def last_good(
    layout: Layout,
    name: str,
    parents: Mapping[str, str | None] | None = None,
    *,
    without: Collection[str] = (),
) -> str | None:
    """
    Return the nearest ancestor of version *name* that can be used, or None.

    Args:
        parents: Version -> parent by the caller's own records; used if neither copy
            of a version has a manifest that can be trusted.
        without: Versions that are passed over.
    """
    ancestors = (a for a in _ancestors(layout, name, parents or {}) if a not in without)
    return next((ancestor for ancestor in ancestors if usable(layout, ancestor)), None)


def _ancestors(layout: Layout, name: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    seen = {name}
    while True:
        manifest = known_manifest(layout, name)
        parent = manifest.parent if manifest else valid_version_name(parents.get(name))
        if parent is None or parent in seen:
            return
        seen.add(parent)
        yield parent
        name = parent
