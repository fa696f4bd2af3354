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

import structlog

from finetuned.core.head import NewHead
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.errors import ModelError, RegistryError
from finetuned.files.claims import last_claim
from finetuned.files.journal import Journal
from finetuned.files.rebuild import restore_version
from finetuned.layout import Layout
from finetuned.process.orphans import end_orphan
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.fallback import last_good, repair
from finetuned.registry.head import linked_head
from finetuned.registry.versions import list_versions, read_version
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

    Versions, release and head, what each version was trained on and its scores come
    back; runs and orders of the past do not.
    """
    restored = 0
    for name in list_versions(layout):
        try:
            restore_version(journal, name, read_version(layout, name).manifest)
        except (ModelError, RegistryError) as error:
            log.error("version_unreadable", version=name, error=str(error))
        else:
            restored += 1
    try:
        current = incumbent(layout)
    except RegistryError as error:
        log.error("current_model_unreadable", error=str(error))
        current = None
    try:
        head = linked_head(layout) or current
    except RegistryError as error:
        log.error("head_unreadable", error=str(error))
        head = current
    if current is not None or head is not None:
        journal.put_in_use(current, PromotionCause.REBUILD, head=NewHead(head, HeadCause.REBUILD))
    if restored:
        log.warning("journal_rebuilt", versions=restored, incumbent=current, head=head)
    for folder in layout.runs.iterdir() if layout.runs.is_dir() else ():
        number = folder.name.removeprefix("r")
        if number.isdigit():
            journal.runs.reserve_ids(int(number))
    # A file that is dropped from now on must not get the name of an original in done/.
    journal.datasets.reserve_keys(last_claim(layout))


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

    Where both copies are damaged the nearest ancestor that is good takes its
    place, in current_model first: whatever ends us between the two steps, the
    next start finds the same damage and does the same again.

    Raises:
        ModelError: Neither the version nor its backup is intact, and no ancestor
            is either. Nothing was changed; the message says what to do.
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
    ancestor = last_good(layout, name, journal.versions.parents())
    if ancestor is None:
        raise ModelError(
            f"{name} is corrupt and has no intact backup ({problem}), nor has any version it was "
            "trained on top of; restore one from your own copies, or go back to the bare base "
            "model with: finetuned versions rollback --to-base"
        ) from problem
    repair(layout, ancestor)
    promote(layout, ancestor)
    both = journal.heads.version() == name
    head = NewHead(ancestor, HeadCause.FALLBACK) if both else None
    journal.put_in_use(ancestor, PromotionCause.FALLBACK, head=head)
    log.error("incumbent_fell_back", version=name, to=ancestor, error=str(problem))


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
