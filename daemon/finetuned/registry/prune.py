"""
Removal of old versions into the trash.

core/retention.py decides which; this module carries it out. It renames versions
into models/trash/ and touches nothing else; backups always stay.
"""

from __future__ import annotations

import structlog

from finetuned.core.promotion import VersionVerdict
from finetuned.core.retention import Plan, plan_prune
from finetuned.errors import ModelError
from finetuned.layout import Layout
from finetuned.registry.head import in_use
from finetuned.registry.pins import read_pins
from finetuned.registry.trash import to_trash
from finetuned.registry.versions import list_versions, read_version, registry_lock

log = structlog.get_logger()


def prune(
    layout: Layout,
    *,
    keep_last: int | None,
    keep_heads: int = 1,
    last_backup: str | None,
    apply: bool = False,
) -> Plan:
    """
    Plan which versions go, and with *apply* move them to the trash.

    Args:
        keep_last: Versions kept that nothing else protects, newest first, >= 0; None keeps
            all but old heads.
        keep_heads: Held versions kept that nothing else protects, newest first, >= 1.
        last_backup: The newest version with an intact backup, see last_verified_backup().
        apply: False only plans and changes nothing.

    Raises:
        RegistryError: A link or the pins cannot be read; nothing was moved.
        ModelError: A version's manifest is unreadable, so its parents are not
            known; nothing was moved.
    """
    if not apply:
        return _plan(layout, keep_last, keep_heads, last_backup)
    with registry_lock(layout):
        plan = _plan(layout, keep_last, keep_heads, last_backup)
        for name in plan.remove:
            to_trash(layout, layout.versions / name)
            log.warning("version_trashed", version=name)
    return plan


def _plan(layout: Layout, keep_last: int | None, keep_heads: int, last_backup: str | None) -> Plan:
    try:
        versions = [read_version(layout, name) for name in list_versions(layout)]
    except ModelError as error:
        raise ModelError(f"{error}; restore or remove that version before pruning") from None
    return plan_prune(
        {version.name: version.manifest.way_back for version in versions},
        bases={version.name: version.manifest.base_version for version in versions},
        in_use=in_use(layout),
        pinned=read_pins(layout).keys(),
        held={v.name for v in versions if v.manifest.verdict == VersionVerdict.HELD},
        keep_last=len(versions) if keep_last is None else keep_last,
        keep_heads=keep_heads,
        last_backup=last_backup,
    )
