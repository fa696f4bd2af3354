"""
``current_model``: the one link that says which version is in use.

promote() and rollback() move it, in one rename, to a version that was verified.
Does not know why one version is better than another, or who reads the link.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from finetuned.errors import RegistryError
from finetuned.layout import Layout
from finetuned.registry.link import (
    check_is_there,
    check_replaceable,
    linked,
    point_to,
    remove_link,
)
from finetuned.registry.versions import known_manifest, registry_lock, verify_usable

log = structlog.get_logger()

Decided = Callable[[str | None], object]
"""Told the version that will be in use, None for the base model; an error in it is raised."""


def _nobody(version: str | None) -> None:
    """Is told a decision that is on record already."""


def linked_version(layout: Layout) -> str | None:
    """
    Return the name that current_model points to, whether that version exists or not.

    Returns:
        None if there is no link.

    Raises:
        RegistryError: It is not a symbolic link, or points out of models/versions/.
    """
    return linked(layout, layout.current_model, mend="finetuned versions promote VERSION")


def incumbent(layout: Layout) -> str | None:
    """
    Return the version that is in use, or None before the first promotion.

    Raises:
        RegistryError: current_model is not a link into models/versions/, or the
            version it names is missing; the message says what to do.
    """
    name = linked_version(layout)
    if name is not None:
        check_is_there(layout, layout.current_model, name)
    return name


def promote(layout: Layout, name: str, *, decided: Decided = _nobody) -> None:
    """
    Make *name* the version in use, after verifying it. Harmless if it already is.

    The link is replaced in one rename: a reader always finds the old or the new version.

    Args:
        decided: Called between the two, to record the decision: what the link shows was decided.

    Raises:
        RegistryError, ModelError: There is no such version, it is not intact, or
            current_model is a real file or folder; it is as before.
    """
    with registry_lock(layout):
        verify_usable(layout, name)
        check_replaceable(layout.current_model)
        decided(name)
        point_to(layout, layout.current_model, name)
    log.info("version_promoted", version=name)


def rollback(
    layout: Layout,
    to: str | None = None,
    *,
    to_base: bool = False,
    decided: Decided = _nobody,
) -> str | None:
    """
    Go back to what was in use before, to version *to*, or to the base model.

    Nothing is deleted: the version that was in use can be promoted again.

    Args:
        decided: Called once the target is verified and before the link is moved, as by promote().

    Returns:
        The version now in use; None after *to_base*, which removes current_model
        wherever it points.

    Raises:
        RegistryError: No version is in use, none was before it or that one is gone,
            or current_model is no link of the daemon's (with *to_base* any link will do).
        ModelError: The target is not intact. In both cases current_model is as before.
    """
    with registry_lock(layout):
        link = layout.current_model
        old = link.readlink().name if to_base and link.is_symlink() else linked_version(layout)
        if old is None:
            raise RegistryError("nothing to roll back: no version is in use")
        if to_base:
            target = None
            decided(target)
            remove_link(link)
        else:
            target = to or _before(layout, old)
            verify_usable(layout, target)
            decided(target)
            point_to(layout, layout.current_model, target)
    log.warning("version_rolled_back", version=old, to=target)
    return target


def _before(layout: Layout, name: str) -> str:
    manifest = known_manifest(layout, name)
    if manifest is None:
        raise RegistryError(
            f"{name} is missing or its manifest is damaged, so what was in use before it is not "
            "known; name a version with --to"
        )
    before = manifest.way_back
    if before is None:
        raise RegistryError(
            f"{name} is the first version that was in use; "
            "to go back to the bare base model: finetuned versions rollback --to-base"
        )
    if not (layout.versions / before).is_dir():
        raise RegistryError(
            f"{before}, which was in use before {name}, is not in {layout.versions}; "
            f"bring it back with: finetuned versions restore {before}"
        )
    return before
