"""
The other families of a version that is being built: their adapters, and the list of all.

An adapter of another family goes along as it is, hard-linked if the file system can, with a
manifest of its own: its folder looks like that of a version, and a later job goes on from it
as from one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from finetuned.core.family_choice import profile
from finetuned.data.last_user_turn import LastUserTurn
from finetuned.data.replay import Reservoir
from finetuned.files.family_list import (
    OWN,
    Family,
    FamilyFile,
    folder_of,
    write_families,
)
from finetuned.files.manifest import read_manifest, write_manifest
from finetuned.files.run import REPORT, RESOLVED_CONFIG
from finetuned.layout import FAMILIES, FAMILY_LIST, MANIFEST
from finetuned.registry.commit import link_or_copy
from finetuned.registry.folder import FACTS_SHA256, SEALED, list_files
from finetuned.training.family_start import FamilyStart, check_whole, prompts_of
from finetuned.training.job import Job

_NOT_OF_THE_ADAPTER: Final = frozenset({MANIFEST, FAMILY_LIST, REPORT, RESOLVED_CONFIG})
"""Files that a version has beside its own adapter."""

_NOT_OF_THE_FACTS: Final = ("files", "schema_version", "version", SEALED, FACTS_SHA256)


def write_family_folders(building: Path, job: Job, start: FamilyStart, kept: Reservoir) -> None:
    """
    Put the adapters of the other families, and families.json, into a candidate.

    Args:
        building: The candidate, its own adapter written; no reader looks into it yet.
        job: The job.
        start: Its family.
        kept: The rows that its adapter keeps.

    Raises:
        CorruptFile, ModelError: The parent is damaged; nothing of it goes along.
        OSError: The file system refused.
    """
    if start.version is not None and start.others:
        check_whole(start.version)
    others = tuple(_carried(building, start, family) for family in start.others)
    own = Family(
        start.name,
        OWN,
        _learnt(start, [FamilyFile(d.dataset_id, d.name) for d in job.spec.datasets]),
        profile(prompts_of(kept, LastUserTurn(job.renderer))),
    )
    write_families(building, (own, *others))


def _learnt(start: FamilyStart, new: list[FamilyFile]) -> tuple[FamilyFile, ...]:
    by_id = {file.dataset_id: file for file in (*start.files, *new)}
    return tuple(by_id.values())


def _carried(building: Path, start: FamilyStart, family: Family) -> Family:
    """Put one other family into *building*, and return it with its folder there."""
    if start.version is None:
        raise ValueError(f"family {family.name} is of no version")
    source, folder = family.path(start.version), folder_of(family.name)
    for file in list_files(source):
        relative = file.relative_to(source)
        if family.folder == OWN and not _is_of_the_adapter(relative):
            continue
        link_or_copy(file, building / folder / relative)
    if family.folder == OWN:
        facts = read_manifest(source)
        said = {k: v for k, v in facts.items() if k not in _NOT_OF_THE_FACTS}
        made_in = {"made_in": facts.get("version") or start.version.name}
        write_manifest(building / folder, {**said, **made_in, "kind": "family"})
    return Family(family.name, folder, family.files, family.profile)


def _is_of_the_adapter(relative: Path) -> bool:
    return relative.parts[0] != FAMILIES and str(relative) not in _NOT_OF_THE_ADAPTER
