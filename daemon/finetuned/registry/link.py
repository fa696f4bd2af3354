"""
Symbolic links to version folders: read, checked, replaced in one step.

There are two: ``current_model`` names the release, ``models/head`` the version that the next
job starts from. Does not know which of them a link is.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetuned.errors import RegistryError
from finetuned.files.atomic import fsync_dir
from finetuned.layout import MANIFEST, Layout


def linked(layout: Layout, link: Path, *, mend: str) -> str | None:
    """
    Return the name that *link* points to, whether that version exists or not.

    Args:
        layout: The root.
        link: Where the link is.
        mend: What a person does if it is not the daemon's, for errors.

    Returns:
        None if there is no link.

    Raises:
        RegistryError: It is not a symbolic link, or points out of models/versions/.
    """
    try:
        target = Path(os.readlink(link))
    except FileNotFoundError:
        return None
    except OSError:
        raise RegistryError(f"{link} is not a symbolic link; move it away, then: {mend}") from None
    if os.path.normpath(link.parent / target.parent) != os.path.normpath(layout.versions):
        raise RegistryError(
            f"{link} points to {target}, which is not in {layout.versions}; put it right with: "
            f"{mend}"
        )
    return target.name


def check_is_there(layout: Layout, link: Path, name: str, *, mend: str = "") -> None:
    """
    Raise if the version that *link* names has no folder.

    Args:
        layout: The root.
        link: Where the link is.
        name: The version that it names.
        mend: What else a person can do, for errors.

    Raises:
        RegistryError: The message says how to bring it back.
    """
    if not (layout.versions / name / MANIFEST).is_file():
        raise RegistryError(
            f"{link} names {name}, which is missing or incomplete; "
            f"bring it back with: finetuned versions restore {name}{mend}"
        )


def check_replaceable(link: Path) -> None:
    """
    Raise if *link* is a real file or folder, which may be somebody's only copy.

    Raises:
        RegistryError: The message says what to do.
    """
    if link.exists() and not link.is_symlink():
        raise RegistryError(f"{link} is not a symbolic link; move it away and try again")


def point_to(layout: Layout, link: Path, name: str) -> None:
    """
    Make *link* name version *name*. Only under the registry's lock.

    Raises:
        RegistryError: *link* is a real file or folder; it is as before.
        OSError: The file system refused; likewise.
    """
    check_replaceable(link)
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    # Relative, so that a root can be moved or mounted elsewhere.
    new.symlink_to(Path(os.path.relpath(layout.versions, link.parent), name))
    os.replace(new, link)
    fsync_dir(link.parent)


def remove_link(link: Path) -> None:
    """
    Remove *link* if it is a symbolic link. Only under the registry's lock.

    Raises:
        OSError: The file system refused; it is as before.
    """
    if link.is_symlink():
        link.unlink()
        fsync_dir(link.parent)
