"""
A run's candidate becomes a version: whole, durable, immutable.

Does not know how the candidate was made, or whether it is put in use.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from finetuned.core.retention import version_name
from finetuned.errors import RegistryError
from finetuned.files.atomic import publish_dir
from finetuned.files.manifest import write_manifest
from finetuned.files.model_manifest import valid_version_name
from finetuned.files.run import read_json, utc_now
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.folder import check_candidate, list_files, sealed
from finetuned.registry.numbers import next_number
from finetuned.registry.versions import list_versions, registry_lock

log = structlog.get_logger()

BUILDING = ".building-"
"""Prefix of a folder that is not finished; what a crash leaves, the next writer removes."""

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES}


def commit_version(
    layout: Layout,
    candidate_dir: Path,
    facts: Mapping[str, Any],
    *,
    documents: Callable[[str], Mapping[str, bytes]] = lambda name: {},
    floor: int = 0,
) -> str:
    """
    Publish a candidate as a new version.

    Files are hard-linked if possible and made read-only: the worker is done with them.

    Args:
        candidate_dir: Adapter or full model with tokenizer, and training_state/.
        facts: What the manifest says beside the files; must hold ``run_id``. ``parent``
            names the version it was trained on top of, ``base_version`` the one
            its adapter sits on; either may be None.
        documents: Given the new version's name, the files that go into it beside the
            candidate's, such as the eval report and the configuration.
        floor: The highest version number that the caller's own records know.

    Returns:
        The new version's name; or, if this run_id was committed before, that
        version's, so that a commit can be repeated after a crash.

    Raises:
        RegistryError: The facts lack a run_id, or name a parent that is no version name.
        ModelError: The candidate is incomplete or holds a pickle.
        OSError: The file system refused. In all three cases no version appeared.
    """
    run_id = _checked_run_id(facts)
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
            if file != candidate_dir / MANIFEST:  # those of its families go along
                link_or_copy(file, building / file.relative_to(candidate_dir))
        for document, data in documents(name).items():
            (building / document).write_bytes(data)
            (building / document).chmod(0o444)
        write_manifest(building, sealed({"created_at": utc_now(), **facts, "version": name}))
        (building / MANIFEST).chmod(0o444)
        publish_dir(building, layout.versions / name)
    log.info("version_committed", version=name, parent=facts.get("parent"), run_id=run_id)
    return name


def _checked_run_id(facts: Mapping[str, Any]) -> str:
    run_id = facts.get("run_id")
    if not isinstance(run_id, str) or not run_id:
        raise RegistryError("a version needs the run_id of the run that made it")
    for key in ("parent", "base_version", "release"):
        if facts.get(key) is not None and valid_version_name(facts[key]) is None:
            raise RegistryError(f"{key} must be a version name or None, got {facts[key]!r}")
    return run_id


def clear_building(folder: Path) -> None:
    """
    Remove what an interrupted writer left in *folder*. Only under the lock.
    """
    for path in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(path)


def link_or_copy(source: Path, target: Path) -> None:
    """
    Make *target* the file *source*, read-only: a hard link, or a copy if that cannot be.

    Raises:
        OSError: The file system refused.
    """
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
        pass  # linked to another user's file; the hash shows it if that user changes it
