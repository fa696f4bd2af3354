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
    existed = layout.journal.exists() and layout.journal.stat().st_size > 0
    try:
        journal = Journal(layout.journal)
    except ModelError as error:
        aside = layout.journal.with_name(f"{layout.journal.name}.corrupt-{int(time.time())}")
        log.error("journal_corrupt", error=str(error), kept_as=aside.name)
        os.replace(layout.journal, aside)
        for suffix in ("-wal", "-shm"):
            layout.journal.with_name(layout.journal.name + suffix).unlink(missing_ok=True)
        journal = Journal(layout.journal)
        existed = False
    if not existed:
        rebuild(layout, journal)
    return journal


def rebuild(layout: Layout, journal: Journal) -> None:
    """
    Fill an empty journal from what the manifests say.

    Versions, those in the trash or deleted too, release and head, what each version was
    trained on and its scores come back; runs and orders of the past do not.
    """
    manifests = _manifests(layout)
    restored = 0
    for name, manifest in manifests.items():
        try:
            restore_version(journal, name, manifest)
        except ModelError as error:
            log.error("version_unreadable", version=name, error=str(error))
        else:
            restored += 1
    bridge_gaps(journal, manifests)
    head, current = _restore_links(layout, journal)
    _restore_looks(layout, journal, manifests)
    if restored:
        log.warning("journal_rebuilt", versions=restored, incumbent=current, head=head)
    for folder in layout.runs.iterdir() if layout.runs.is_dir() else ():
        number = folder.name.removeprefix("r")
        if number.isdigit():
            journal.runs.reserve_ids(int(number))
    # A file that is dropped from now on must not get the name of an original in done/.
    journal.datasets.reserve_keys(last_claim(layout))


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


def _restore_links(layout: Layout, journal: Journal) -> tuple[str | None, str | None]:
    """Record what both links name as head and release, and return them."""
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
    if descends(current, head, journal.versions.parents()):
        head = current  # a crash between the two links: the release was trained on top of it
    if unreadable is not None and head is not None:
        journal.heads.add(head, HeadCause.REBUILD)  # the release stays what a person makes of it
    elif head is not None:
        journal.put_in_use(current, PromotionCause.REBUILD, head=NewHead(head, HeadCause.REBUILD))
    return head, current


def _restore_looks(
    layout: Layout, journal: Journal, manifests: Mapping[str, ModelManifest]
) -> None:
    """Count the looks at the release again that left a version, with their interpolations."""
    release = journal.promotions.incumbent()
    for name, manifest in manifests.items():
        judged = "release" in manifest.document and not manifest.consolidates
        if judged and manifest.way_back == release and manifest.eval_run_id is not None:
            report = read_json(layout.versions / name / REPORT) or {}
            trials = report.get("interpolation")
            tried = trials.get("tried") if isinstance(trials, dict) else None
            n_tried = len(tried) if isinstance(tried, list) else 0
            journal.note_look(manifest.eval_run_id, 1 + n_tried)


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
