"""
What a person wants kept, and how versions leave: by way of the trash.

The decision is core/retention.py; here it is carried out. Prune renames into
models/trash/; only empty_trash() deletes. Backups are another path of deletion
and stay whatever happens here.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import orjson
import structlog

from finetuned.core.retention import Plan, plan_prune, version_number
from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import fsync_dir, remove_tree, write_atomic
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.registry.versions import (
    HIGHEST,
    incumbent,
    list_versions,
    next_number,
    read_version,
    registry_lock,
)

log = structlog.get_logger()

PINS = "pins.json"
"""In models/: version -> why it is pinned and since when."""


def read_pins(layout: Layout) -> dict[str, dict[str, str]]:
    """
    Return the pinned versions, each with ``reason`` and ``pinned_at``.

    Raises:
        RegistryError: The file is damaged. Nothing may be pruned then.
    """
    path = layout.models / PINS
    try:
        pins = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise RegistryError(f"{path}: not JSON ({error}); mend or remove it") from None
    if not isinstance(pins, dict) or not all(isinstance(p, dict) for p in pins.values()):
        raise RegistryError(f"{path}: not a table of pins; mend or remove it")
    return pins


def pin(layout: Layout, name: str, reason: str) -> None:
    """
    Keep version *name* from being pruned, whatever its age.

    Raises:
        RegistryError: There is no such version, or the pins are unreadable.
    """
    with registry_lock(layout):
        read_version(layout, name)
        pins = read_pins(layout)
        pins[name] = {"reason": reason, "pinned_at": utc_now()}
        _write_pins(layout, pins)
    log.info("version_pinned", version=name, reason=reason)


def unpin(layout: Layout, name: str) -> None:
    """
    Let version *name* be pruned again.

    Raises:
        RegistryError: It is not pinned.
    """
    with registry_lock(layout):
        pins = read_pins(layout)
        if pins.pop(name, None) is None:
            raise RegistryError(f"{name} is not pinned")
        _write_pins(layout, pins)
    log.info("version_unpinned", version=name)


def _write_pins(layout: Layout, pins: dict[str, dict[str, str]]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    write_atomic(layout.models / PINS, orjson.dumps(pins, option=options))


def prune(layout: Layout, *, keep_last: int, last_backup: str | None, apply: bool = False) -> Plan:
    """
    Plan which versions go, and with *apply* move them to the trash.

    Args:
        keep_last: Versions kept that nothing else protects, newest first, >= 0.
        last_backup: What last_verified_backup() said.
        apply: False plans only and changes nothing.

    Raises:
        RegistryError: current_model or the pins are out of order; nothing was moved.
        ModelError: A version's manifest is unreadable, so its parents are not
            known; nothing was moved.
    """
    if not apply:
        return _plan(layout, keep_last, last_backup)
    with registry_lock(layout):
        plan = _plan(layout, keep_last, last_backup)
        for name in plan.remove:
            os.rename(layout.versions / name, trash_path(layout, name))
            fsync_dir(layout.trash)
            fsync_dir(layout.versions)
            log.warning("version_trashed", version=name)
    return plan


def _plan(layout: Layout, keep_last: int, last_backup: str | None) -> Plan:
    try:
        parents = {name: read_version(layout, name).parent for name in list_versions(layout)}
    except ModelError as error:
        raise ModelError(f"{error}; restore or remove that version before pruning") from None
    return plan_prune(
        parents,
        incumbent=incumbent(layout),
        pinned=read_pins(layout).keys(),
        keep_last=keep_last,
        last_backup=last_backup,
    )


def trash_path(layout: Layout, name: str) -> Path:
    """
    Return a free path in the trash for version *name*, such as ``v0007-20261120T095052Z``.
    """
    layout.trash.mkdir(exist_ok=True)
    stem = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path, n = layout.trash / stem, 1
    while path.exists():
        n += 1
        path = layout.trash / f"{stem}-{n}"
    return path


def list_trash(layout: Layout) -> list[str]:
    """
    Return the names of the folders in the trash, oldest version first.
    """
    if not layout.trash.is_dir():
        return []
    folders = [p.name for p in layout.trash.iterdir() if not p.name.startswith(".removing-")]
    return sorted(folders, key=lambda name: (version_number(name.partition("-")[0]) or 0, name))


def empty_trash(layout: Layout) -> list[str]:
    """
    Delete everything in the trash for good.

    The highest number ever used is written down first: a version number is
    never used twice, even when nothing else remembers it.

    Returns:
        The names that were deleted.
    """
    with registry_lock(layout):
        names = list_trash(layout)
        highest = {"number": next_number(layout) - 1}
        write_atomic(layout.models / HIGHEST, orjson.dumps(highest))
        for rest in layout.trash.glob(".removing-*"):  # of an emptying that was interrupted
            shutil.rmtree(rest)
        for name in names:
            remove_tree(layout.trash / name)
    if names:
        log.warning("trash_emptied", names=names)
    return names
