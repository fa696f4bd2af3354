"""
``current_model``: the one link that says which version is in use.

promote() and rollback() move it, in one rename, to a version that was verified.
Does not know why one version is better than another, or who reads the link.
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from finetuned.errors import RegistryError
from finetuned.files.atomic import fsync_dir
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.versions import known_manifest, registry_lock, verify_usable

log = structlog.get_logger()


def linked_version(layout: Layout) -> str | None:
    """
    Return the name that current_model points to, whether that version exists or not.

    Returns:
        None if there is no link.

    Raises:
        RegistryError: It is not a symbolic link, or points out of models/versions/.
    """
    link = layout.current_model
    try:
        target = Path(os.readlink(link))
    except FileNotFoundError:
        return None
    except OSError:
        raise RegistryError(
            f"{link} is not a symbolic link; move it away, then: finetuned versions promote VERSION"
        ) from None
    if os.path.normpath(link.parent / target.parent) != os.path.normpath(layout.versions):
        raise RegistryError(
            f"{link} points to {target}, which is not in {layout.versions}; "
            "put it right with: finetuned versions promote VERSION"
        )
    return target.name


def incumbent(layout: Layout) -> str | None:
    """
    Return the version that is in use, or None before the first promotion.

    Raises:
        RegistryError: current_model is not a link into models/versions/, or the
            version it names is missing; the message says what to do.
    """
    name = linked_version(layout)
    if name is not None and not (layout.versions / name / MANIFEST).is_file():
        raise RegistryError(
            f"{layout.current_model} names {name}, which is missing or incomplete; "
            f"bring it back with: finetuned versions restore {name}"
        )
    return name


def promote(layout: Layout, name: str) -> None:
    """
    Make *name* the version in use, after verifying it. Harmless if it already is.

    The link is replaced in one rename: a reader always finds the old or the new version.

    Raises:
        RegistryError, ModelError: There is no such version, it is not intact, or
            current_model is a real file or folder; it is as before.
    """
    with registry_lock(layout):
        verify_usable(layout, name)
        _point_to(layout, name)
    log.info("version_promoted", version=name)


def rollback(layout: Layout, to: str | None = None, *, to_base: bool = False) -> str | None:
    """
    Go back to the parent of the version in use, to version *to*, or to the base model.

    Nothing is deleted: the version that was in use can be promoted again.

    Returns:
        The version now in use; None after *to_base*, which removes current_model
        wherever it points.

    Raises:
        RegistryError: No version is in use, it has no parent or the parent is gone,
            or current_model is no link of the daemon's (with *to_base* any link will do).
        ModelError: The target is not intact. In both cases current_model is as before.
    """
    with registry_lock(layout):
        link = layout.current_model
        old = link.readlink().name if to_base and link.is_symlink() else linked_version(layout)
        if old is None:
            raise RegistryError("nothing to roll back: no version is in use")
        if to_base:
            link.unlink()
            fsync_dir(link.parent)
            target = None
        else:
            target = to or _parent_of(layout, old)
            verify_usable(layout, target)
            _point_to(layout, target)
    log.warning("version_rolled_back", version=old, to=target)
    return target


def _point_to(layout: Layout, name: str) -> None:
    link = layout.current_model
    if link.exists() and not link.is_symlink():
        raise RegistryError(f"{link} is not a symbolic link; move it away and try again")
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    # Relative, so that a root can be moved or mounted elsewhere.
    new.symlink_to(Path(os.path.relpath(layout.versions, link.parent), name))
    os.replace(new, link)
    fsync_dir(link.parent)


def _parent_of(layout: Layout, name: str) -> str:
    manifest = known_manifest(layout, name)
    if manifest is None:
        raise RegistryError(
            f"{name} is missing or its manifest is damaged, so its parent is not known; "
            "name one with --to"
        )
    parent = manifest.parent
    if parent is None:
        raise RegistryError(
            f"{name} is the first version and has no parent; "
            "to go back to the bare base model: finetuned versions rollback --to-base"
        )
    if not (layout.versions / parent).is_dir():
        raise RegistryError(
            f"{parent}, the parent of {name}, is not in {layout.versions}; "
            f"bring it back with: finetuned versions restore {parent}"
        )
    return parent
