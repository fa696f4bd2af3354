"""
``models/head``: the link that names the version from which training goes on.

A mirror of the journal's decision, for people, for the commands that throw versions away,
and for a journal that has to be made again. Without the link the base model is the head, or
the release after an older version of this program.
"""

from __future__ import annotations

import structlog

from finetuned.errors import RegistryError
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.link import check_is_there, linked, point_to, remove_link
from finetuned.registry.versions import read_version, registry_lock

log = structlog.get_logger()

_MEND = "restart the daemon, which makes the link anew from its journal"

_WITHOUT_BACKUP = (
    "; without a backup restart the daemon: training goes on from the nearest intact ancestor"
)


def linked_head(layout: Layout) -> str | None:
    """
    Return the version that models/head names, None if there is no link.

    Raises:
        RegistryError: It is not a link into models/versions/, or the version is missing.
    """
    name = linked(layout, layout.head, mend=_MEND)
    if name is not None:
        check_is_there(layout, layout.head, name, mend=_WITHOUT_BACKUP)
    return name


def move_head(layout: Layout, name: str | None) -> None:
    """
    Make models/head name version *name*; None removes the link. Harmless if it already does.

    Raises:
        RegistryError, ModelError: There is no such version, its manifest is damaged, or
            models/head is a real file or folder; it is as before.
        OSError: The file system refused; likewise.
    """
    with registry_lock(layout):
        if name is None:
            if not layout.head.is_symlink():
                return
            remove_link(layout.head)
        else:
            read_version(layout, name)
            if _target(layout) == name:
                return
            point_to(layout, layout.head, name)
    log.info("head_moved", version=name)


def _target(layout: Layout) -> str | None:
    """Return what the link names, None if it is out of order or not there."""
    try:
        return linked_head(layout)
    except RegistryError:
        return None


def in_use(layout: Layout) -> dict[str, str]:
    """
    Return the versions that both links name, each with what it is: the release, the head.

    Raises:
        RegistryError: A link is out of order; the message says what to do.
    """
    links = {linked_head(layout): "the head of training", incumbent(layout): "in use"}
    return {name: what for name, what in links.items() if name is not None}
