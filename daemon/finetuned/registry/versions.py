"""
Published models: immutable folders, and the one link that says which is in use.

Call commit_version() with what a worker left, promote() when the gate said yes;
``current_model`` then names it. Folders and one symbolic link are all there is:
no database, so the registry can be read, and repaired, with ls and ln.

Does not know how a version was made, why it is better, or who uses it.
Writers take registry_lock() themselves; readers need no lock, since a version
folder appears whole and never changes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from finetuned.core.retention import version_name, version_number
from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import fsync_dir, publish_dir
from finetuned.files.lock import held
from finetuned.files.manifest import write_manifest
from finetuned.files.run import read_json, utc_now
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.folder import (
    check_candidate,
    list_files,
    read_facts,
    sealed,
    verify_folder,
)

log = structlog.get_logger()

BUILDING = ".building-"
"""Prefix of a folder that is not finished; what a crash leaves, the next writer removes."""

LOCK = ".registry.lock"
HIGHEST = "highest_version.json"
"""Remembers, in models/, the highest number that was ever emptied from the trash."""

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Version:
    """
    One version folder and what its manifest says.
    """

    name: str
    path: Path
    manifest: dict[str, Any]

    @property
    def parent(self) -> str | None:
        """The version it was trained on top of; None for one made from the base."""
        return valid_version_name(self.manifest.get("parent"))

    @property
    def base_version(self) -> str | None:
        """The version, a full model, that its adapter sits on; None for the configured base."""
        return valid_version_name(self.manifest.get("base_version"))

    @property
    def bytes(self) -> int:
        """Size of its files by the manifest, in bytes."""
        return sum(int(entry["bytes"]) for entry in self.manifest["files"].values())


def valid_version_name(value: object) -> str | None:
    """
    Return *value* where it is a version's name; what a manifest says becomes a path.
    """
    return value if isinstance(value, str) and version_number(value) is not None else None


def lineage_of(facts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """
    Return the parent and the base version that a manifest names.
    """
    return valid_version_name(facts.get("parent")), valid_version_name(facts.get("base_version"))


@contextmanager
def registry_lock(layout: Layout, *, wait_seconds: float = 30.0) -> Iterator[None]:
    """
    Be the only writer of versions, backups, trash, pins and current_model.

    Not reentrant: the functions that write take it themselves.

    Raises:
        LockHeld: Somebody else still had it after *wait_seconds*.
    """
    with held(layout.models / LOCK, wait_seconds=wait_seconds):
        yield


def list_versions(layout: Layout) -> list[str]:
    """
    Return the names of all version folders, oldest first, whole or not.
    """
    return version_names(layout.versions)


def version_names(folder: Path) -> list[str]:
    """
    Return the names in *folder* that are version names, oldest first.
    """
    try:
        found = [p.name for p in folder.iterdir() if version_number(p.name) is not None]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: version_number(name) or 0)


def read_version(layout: Layout, name: str) -> Version:
    """
    Return version *name* without checking its files.

    Raises:
        RegistryError: There is no such version.
        ModelError: Its manifest is missing, unreadable, changed, or another version's.
    """
    if version_number(name) is None:
        raise RegistryError(f"{name!r} is not a version name; they look like v0007")
    path = layout.versions / name
    if not path.is_dir():
        known = ", ".join(list_versions(layout)[-5:]) or "none"
        raise RegistryError(f"there is no version {name}; the newest are: {known}")
    return Version(name, path, read_facts(path, name))


def known_facts(layout: Layout, name: str) -> dict[str, Any] | None:
    """
    Return the manifest of version *name*, or of its backup where that of the version is damaged.

    None when neither is there, or neither can be trusted.
    """
    for folder in (layout.versions, layout.backups):
        try:
            return read_facts(folder / name, name)
        except (ModelError, OSError):
            pass  # the other copy may do
    return None


def verify_version(layout: Layout, name: str) -> Version:
    """
    Return version *name* after comparing every file with the manifest.

    Raises:
        RegistryError: There is no such version.
        ModelError: It is incomplete, or says it is another version.
        CorruptFile: A file is missing, changed, or was added later.
    """
    version = read_version(layout, name)
    verify_folder(version.path, name)
    return version


def verify_usable(layout: Layout, name: str) -> None:
    """
    Verify version *name* and every version that it sits on: what has to be there to load it.

    Raises:
        RegistryError, CorruptFile, ModelError: As verify_version, of any of them.
    """
    seen: set[str] = set()
    current: str | None = name
    while current is not None and current not in seen:
        seen.add(current)
        current = verify_version(layout, current).base_version


def next_number(layout: Layout, floor: int = 0) -> int:
    """
    Return a version number that was never used: not by a version, a backup or the trash.

    Args:
        floor: The highest number the caller knows to have been used, >= 0.
    """
    emptied = (read_json(layout.models / HIGHEST) or {}).get("number")
    numbers = [floor, emptied if isinstance(emptied, int) else 0]
    try:
        numbers.append(version_number(_link_name(layout) or "") or 0)
    except RegistryError:
        pass  # somebody's own link or folder; promote will say so, a commit need not wait for it
    for folder in (layout.versions, layout.backups, layout.trash):
        if folder.is_dir():
            # In the trash the name is followed by a time: v0007-20261120T...
            heads = (p.name.partition("-")[0] for p in folder.iterdir())
            numbers += [version_number(head) or 0 for head in heads]
    return max(numbers) + 1


def commit_version(
    layout: Layout,
    candidate_dir: Path,
    facts: Mapping[str, Any],
    *,
    documents: Callable[[str], Mapping[str, bytes]] = lambda name: {},
    floor: int = 0,
) -> str:
    """
    Publish what a worker left as a new version, whole, durable and for good.

    Files are hard-linked where possible and made read-only: the worker is done with them.

    Args:
        candidate_dir: Adapter or full model with tokenizer, and training_state/.
        facts: What the manifest shall say; must hold ``run_id``. ``parent``
            names the version it was trained on top of, ``base_version`` the one
            its adapter sits on; either may be None.
        documents: Given the new version's name, the files that go into it beside the
            candidate's, such as the eval report and the configuration.
        floor: The highest version number the caller's own records know.

    Returns:
        The new version's name; or, when this run_id was committed before, that
        version's, so that a commit can be repeated after a crash.

    Raises:
        RegistryError: The facts do not do.
        ModelError: The candidate is incomplete or holds a pickle.
        OSError: The file system refused. In all three cases no version appeared.
    """
    run_id, parent = facts.get("run_id"), facts.get("parent")
    if not isinstance(run_id, str) or not run_id:
        raise RegistryError("a version needs the run_id of the run that made it")
    for key in ("parent", "base_version"):
        if facts.get(key) is not None and valid_version_name(facts[key]) is None:
            raise RegistryError(f"{key} must be a version name or None, got {facts[key]!r}")
    with registry_lock(layout):
        for name in reversed(list_versions(layout)):
            found = read_json(layout.versions / name / MANIFEST)
            if found is not None and found.get("run_id") == run_id:
                return name
        check_candidate(candidate_dir)
        clear_building(layout.versions)
        name = version_name(next_number(layout, floor))
        building = layout.versions / f"{BUILDING}{name}"
        building.mkdir()
        for file in list_files(candidate_dir):
            if file.name != MANIFEST:
                _link_or_copy(file, building / file.relative_to(candidate_dir))
        for document, data in documents(name).items():
            (building / document).write_bytes(data)
            (building / document).chmod(0o444)
        write_manifest(building, sealed({"created_at": utc_now(), **facts, "version": name}))
        (building / MANIFEST).chmod(0o444)
        publish_dir(building, layout.versions / name)
    log.info("version_committed", version=name, parent=parent, run_id=run_id)
    return name


def clear_building(folder: Path) -> None:
    """
    Remove what an interrupted writer left in *folder*. Only under the lock.
    """
    for path in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(path)


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, target)
    try:
        target.chmod(0o444)
    except PermissionError:
        pass  # linked to somebody else's file; the hash will tell if he changes it


def _link_name(layout: Layout) -> str | None:
    """
    Return the version that current_model names, whether it exists or not.
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
        RegistryError: It is no link of ours, or dangles; the message says what to do.
    """
    name = _link_name(layout)
    if name is not None and not (layout.versions / name / MANIFEST).is_file():
        raise RegistryError(
            f"{layout.current_model} names {name}, which is missing or incomplete; "
            f"bring it back with: finetuned versions restore {name}"
        )
    return name


def promote(layout: Layout, name: str) -> None:
    """
    Make *name* the version in use, after verifying it. Harmless when it is already.

    The link is replaced in one rename: a reader always finds the old or the new one.

    Raises:
        RegistryError, ModelError: No such version, not intact, or current_model
            is a real folder; it is as before.
    """
    with registry_lock(layout):
        verify_usable(layout, name)
        _flip(layout, name)
    log.info("version_promoted", version=name)


def _flip(layout: Layout, name: str) -> None:
    link = layout.current_model
    if link.exists() and not link.is_symlink():
        raise RegistryError(f"{link} is not a symbolic link; move it away and try again")
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    # Relative, so that a root can be moved or mounted elsewhere.
    new.symlink_to(Path(os.path.relpath(layout.versions, link.parent), name))
    os.replace(new, link)
    fsync_dir(link.parent)


def rollback(layout: Layout, to: str | None = None, *, to_base: bool = False) -> str | None:
    """
    Go back to the parent of the version in use, to version *to*, or to the base model.

    Nothing is deleted: the version rolled back from can be promoted again.

    Returns:
        The version now in use; None after *to_base*, which removes current_model,
        wherever it pointed.

    Raises:
        RegistryError: Nothing was promoted yet, the parent is none or gone, or
            current_model is no link of the daemon's (with *to_base* any link will do).
        ModelError: The target is not intact. In both cases current_model is as before.
    """
    with registry_lock(layout):
        link = layout.current_model
        old = link.readlink().name if to_base and link.is_symlink() else _link_name(layout)
        if old is None:
            raise RegistryError("nothing to roll back: no version is in use")
        if to_base:
            link.unlink()
            fsync_dir(link.parent)
            target = None
        else:
            target = to or _parent_of(layout, old)
            verify_usable(layout, target)
            _flip(layout, target)
    log.warning("version_rolled_back", version=old, to=target)
    return target


def _parent_of(layout: Layout, name: str) -> str:
    facts = known_facts(layout, name)
    if facts is None:
        raise RegistryError(
            f"{name} is missing or its manifest is damaged, so its parent is not known; "
            "name one with --to"
        )
    parent = facts.get("parent")
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
    return str(parent)
