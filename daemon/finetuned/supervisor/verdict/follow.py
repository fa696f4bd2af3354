"""
The links current_model and models/head follow the journal, and the release gets its backup.
"""

from __future__ import annotations

import structlog

from finetuned.errors import RegistryError
from finetuned.files.run import utc_now
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.backup import backup
from finetuned.registry.current_model import incumbent, promote, rollback
from finetuned.registry.head import linked_head, move_head
from finetuned.registry.versions import read_version
from finetuned.supervisor.context import Context

log = structlog.get_logger()

MAX_NAMES = 10
"""Most names of datasets that the status shows as learnt beyond the release, the newest."""


def follow_journal(context: Context) -> None:
    """
    Make both links name the versions that the journal has decided on, and back up the release.

    A link that somebody pointed elsewhere, or at a version that is gone, is replaced.
    A real file or folder of that name is not: it may be somebody's only copy.

    Raises:
        RegistryError: A link is no symbolic link; it is as before.
        ModelError: The version is not intact; the link is as before.
        OSError: The file system refused; the link is as before.
    """
    follow_release(context)
    follow_head(context)
    show_head(context)


def follow_release(context: Context) -> None:
    """
    Make current_model name the release, and back that up.

    Raises:
        RegistryError, ModelError, OSError: As follow_journal.
    """
    last = context.journal.promotions.last()
    if last is None:
        return
    decided = last.version
    try:
        found, problem = incumbent(context.layout), None
    except RegistryError as error:
        found, problem = None, str(error)
    if problem is not None or decided != found:
        if decided is None:
            rollback(context.layout, to_base=True)
        else:
            promote(context.layout, decided)
        log.info("current_model_changed", old=found, new=decided)
    if problem is not None:
        log.warning("current_model_repaired", version=decided, error=problem)
        _show_repair(context, "current_model", decided, problem)
    context.board.update(version=decided)
    if (
        decided is not None
        and context.config.registry.backup
        and not (context.layout.backups / decided / MANIFEST).is_file()
    ):
        _back_up(context.layout, decided)


def _back_up(layout: Layout, name: str) -> None:
    """Back up a version, and before it the merged model that its adapter sits on."""
    base = read_version(layout, name).manifest.base_version
    if base is not None and not (layout.backups / base / MANIFEST).is_file():
        backup(layout, base)  # it may never have been released itself
    backup(layout, name)


def follow_head(context: Context) -> None:
    """
    Make models/head name the version that the next job starts from.

    Raises:
        RegistryError, ModelError, OSError: As follow_journal.
    """
    last = context.journal.heads.last()
    if last is None:
        return
    try:
        found, problem = linked_head(context.layout), None
    except RegistryError as error:
        found, problem = None, str(error)
    if problem is not None or last.version != found:
        move_head(context.layout, last.version)
    if problem is not None:
        log.warning("head_repaired", version=last.version, error=problem)
        _show_repair(context, "models/head", last.version, problem)


def show_head(context: Context) -> None:
    """Show the head, and what it has learnt beyond the release; read only if one changed."""
    journal, board = context.journal, context.board
    head, release = journal.heads.version(), journal.promotions.incumbent()
    if context.shown_head == (head, release):
        return
    known = {dataset.dataset_id for dataset in journal.learnt(release)}
    beyond = [d.name for d in journal.learnt(head) if d.dataset_id not in known]
    below = set(journal.versions.lineage(release))
    versions = [name for name in journal.versions.lineage(head) if name not in below]
    board.update(
        head=head,
        beyond_release={
            "versions": len(versions),
            "n_datasets": len(beyond),
            "datasets": beyond[-MAX_NAMES:],
        },
    )
    context.shown_head = (head, release)


def _show_repair(context: Context, what: str, version: str | None, problem: str) -> None:
    context.board.update(
        last_repair={"what": what, "version": version, "problem": problem, "at": utc_now()}
    )
