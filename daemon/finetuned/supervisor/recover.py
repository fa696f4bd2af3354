"""
Recovery: how a start repairs what the end of the last supervisor left behind.

Folders are made to agree with the journal. If the journal itself is lost or corrupt, it
is kept aside and made again from the manifests of versions, which say what each was
trained on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from finetuned.core.head import NewHead, descends
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.errors import ModelError, RegistryError
from finetuned.files.claims import last_claim
from finetuned.files.journal import Journal
from finetuned.files.model_manifest import ModelManifest
from finetuned.files.rebuild import bridge_gaps, restore_version
from finetuned.files.run import REPORT, read_json
from finetuned.layout import Layout
from finetuned.process.orphans import end_orphan
from finetuned.registry.current_model import linked_version, promote
from finetuned.registry.fallback import last_good, repair
from finetuned.registry.folder import read_sealed
from finetuned.registry.head import linked_head
from finetuned.registry.trash import list_trash, trashed_version
from finetuned.registry.versions import list_versions, version_names
from finetuned.supervisor.context import Context

log = structlog.get_logger()


def open_journal(layout: Layout) -> Journal:
    """
    Open the journal, or make it again from the manifests when it is corrupt or gone.

    Raises:
        sqlite3.OperationalError: The file system refused.
    """
    try:
        journal = Journal(layout.journal)
    except ModelError as error:
        aside = layout.journal.with_name(f"{layout.journal.name}.corrupt-{int(time.time())}")
        log.error("journal_corrupt", error=str(error), kept_as=aside.name)
        os.replace(layout.journal, aside)
        for suffix in ("-wal", "-shm"):
            layout.journal.with_name(layout.journal.name + suffix).unlink(missing_ok=True)
        journal = Journal(layout.journal)
    if journal.is_unfilled():
        rebuild(layout, journal)
    return journal


def rebuild(layout: Layout, journal: Journal) -> None:
    """
    Fill an empty journal from what the manifests say, in one transaction.

    Versions, those in the trash or deleted too, release and head, what each version was
    trained on and its scores come back; runs and orders of the past do not. If it is killed
    before its end the next start finds nothing recorded and does it again: with half of the
    versions and no head, training would begin again on the base model.
    """
    manifests, links = _manifests(layout), _read_links(layout)
    looks = {name: _candidates_tried(layout, name) for name in manifests}
    last_run, last_key = _last_run(layout), last_claim(layout)
    with journal.together():
        damaged = _restore_versions(journal, manifests)
        bridge_gaps(journal, manifests)
        head = _restore_links(journal, links)
        _restore_looks(journal, manifests, looks)
        journal.runs.reserve_ids(last_run)
        # A file that is dropped from now on must not get the name of an original in done/.
        journal.datasets.reserve_keys(last_key)
        journal.settings.note_filled()
    for name, error in damaged.items():
        log.error("version_unreadable", version=name, error=error)
    restored = len(manifests) - len(damaged)
    if restored:
        log.warning("journal_rebuilt", versions=restored, incumbent=links.release, head=head)


def _last_run(layout: Layout) -> int:
    """Return the highest number of any run folder, 0 if there is none."""
    folders = layout.runs.iterdir() if layout.runs.is_dir() else ()
    numbers = (folder.name.removeprefix("r") for folder in folders)
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def _restore_versions(journal: Journal, manifests: Mapping[str, ModelManifest]) -> dict[str, str]:
    """Record what the manifests say; return why each that cannot be read was left out."""
    damaged = {}
    for name, manifest in manifests.items():
        try:
            restore_version(journal, name, manifest)
        except ModelError as error:  # nothing of it was recorded
            damaged[name] = str(error)
    return damaged


def _manifests(layout: Layout) -> dict[str, ModelManifest]:
    """
    Return the manifest of every version that has one: in place, backed up, trashed or deleted.

    Old heads go to the trash by themselves, and for good; what they learnt, the head has learnt.
    """
    found: dict[str, ModelManifest] = {}
    places = [layout.versions / name for name in list_versions(layout)]
    places += [layout.backups / name for name in version_names(layout.backups)]
    places += [layout.trash / folder for folder in list_trash(layout)]
    places += [layout.deleted / name for name in version_names(layout.deleted)]
    for folder in places:
        name = trashed_version(folder.name)  # a version's own name has nothing behind it
        if name is None or name in found:
            continue
        try:
            found[name] = read_sealed(folder, name)
        except ModelError as error:
            log.error("version_unreadable", version=name, error=str(error))
    return found


@dataclass(frozen=True, slots=True)
class _Links:
    """
    What both links name.
    """

    release: str | None
    """None if current_model is not there, or cannot be followed."""
    is_known: bool
    """Whether current_model can be followed, or is not there."""
    head: str | None
    """The release if models/head is not there, or cannot be followed."""


def _read_links(layout: Layout) -> _Links:
    unreadable = None
    try:
        current = linked_version(layout)
        copies = (layout.versions, layout.backups)
        if current is not None and not any((place / current).is_dir() for place in copies):
            unreadable = f"{layout.current_model} names {current}, of which there is no copy"
    except RegistryError as error:
        unreadable = str(error)
    if unreadable is not None:
        log.error("current_model_unreadable", error=unreadable)
        current = None
    try:
        head = linked_head(layout) or current
    except RegistryError as error:
        log.error("head_unreadable", error=str(error))
        head = current
    return _Links(current, unreadable is None, head)


def _restore_links(journal: Journal, links: _Links) -> str | None:
    """Record what both links name as release and head; return the head."""
    release, head = links.release, links.head
    if descends(release, head, journal.versions.parents()):
        head = release  # a crash between the two links: the release was trained on top of it
    if head is not None and not links.is_known:
        journal.heads.add(head, HeadCause.REBUILD)  # the release stays what a person makes of it
    elif head is not None:
        journal.put_in_use(release, PromotionCause.REBUILD, head=NewHead(head, HeadCause.REBUILD))
    return head


def _candidates_tried(layout: Layout, version: str) -> int:
    """Return how many candidates were looked at when a version was judged: it and its trials."""
    report = read_json(layout.versions / version / REPORT) or {}
    trials = report.get("interpolation")
    tried = trials.get("tried") if isinstance(trials, dict) else None
    return 1 + (len(tried) if isinstance(tried, list) else 0)


def _restore_looks(
    journal: Journal, manifests: Mapping[str, ModelManifest], candidates: Mapping[str, int]
) -> None:
    """Count the looks at the release again that left a version, with their interpolations."""
    release = journal.promotions.incumbent()
    for name, manifest in manifests.items():
        judged = "release" in manifest.document and not manifest.consolidates
        if judged and manifest.way_back == release and manifest.eval_run_id is not None:
            journal.note_look(manifest.eval_run_id, candidates[name])


def end_orphans(layout: Layout, journal: Journal, *, patience: float) -> None:
    """
    End the workers of an earlier supervisor that still run.
    """
    for run in journal.runs.unfinished():
        if end_orphan(layout.runs / run.id, run.pid, run.pid_started, patience=patience):
            log.warning("orphan_killed", run_id=run.id, pid=run.pid)


def sweep(layout: Layout) -> None:
    """
    Remove half-built folders that a crash left; none of them has a manifest anyone trusts.
    """
    for parent in (layout.datasets, layout.versions, layout.backups, layout.runs):
        if not parent.is_dir():
            continue
        for path in parent.iterdir():
            if path.name.startswith((".building-", ".removing-")):
                shutil.rmtree(path, ignore_errors=True)


def check_incumbent(context: Context) -> None:
    """
    Verify the incumbent before anything is trained on it; repair it from its backup.

    Where both copies are damaged the nearest ancestor that is good and was released takes its
    place, in current_model first: whatever ends us between the two steps, the
    next start finds the same damage and does the same again. A head that is the version
    steps back to the nearest good ancestor, released or not.

    Raises:
        ModelError: Neither the version nor its backup is intact, and no ancestor that
            was released is either. Nothing was changed; the message says what to do.
    """
    layout, journal = context.layout, context.journal
    name = journal.promotions.incumbent()
    if name is None:
        return
    try:
        repair(layout, name)
        return
    except (ModelError, RegistryError) as error:
        problem = error
    parents = journal.versions.parents()
    ancestor = last_good(layout, name, parents, without=_never_released(journal))
    if ancestor is None:
        raise ModelError(
            f"{name} is corrupt and has no intact backup ({problem}), nor has any released "
            "version it was trained on top of; restore one from your own copies, put another "
            "in use with: finetuned versions promote VERSION, or go back to the bare base "
            "model with: finetuned versions rollback --to-base"
        ) from problem
    repair(layout, ancestor)
    promote(layout, ancestor)
    head = None
    if journal.heads.version() == name:
        head = NewHead(last_good(layout, name, parents), HeadCause.FALLBACK)
    journal.put_in_use(ancestor, PromotionCause.FALLBACK, head=head)
    log.error("incumbent_fell_back", version=name, to=ancestor, error=str(problem))


def _never_released(journal: Journal) -> set[str]:
    """Return the versions that neither the gate nor a person ever put in use."""
    held = {v.id for v in journal.versions.all() if v.verdict is not VersionVerdict.PROMOTED}
    return held - journal.promotions.versions()


def check_head(context: Context) -> None:
    """
    Verify the head before anything is trained on it, after check_incumbent().

    Heads have no backups: where one is damaged the nearest ancestor that is good takes its
    place, or the release if there is none.

    Raises:
        OSError: The file system refused.
    """
    layout, journal = context.layout, context.journal
    name, released = journal.heads.version(), journal.promotions.incumbent()
    if name is None or name == released:
        return
    try:
        repair(layout, name)
    except (ModelError, RegistryError) as problem:
        ancestor = last_good(layout, name, journal.versions.parents())
        if ancestor is not None:
            repair(layout, ancestor)
        to = ancestor or released
        journal.heads.add(to, HeadCause.FALLBACK)
        log.error("head_fell_back", version=name, to=to, error=str(problem))
