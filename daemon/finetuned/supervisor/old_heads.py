"""
Held versions do not pile up: the newest stay, older ones go to the trash, and from there for good.

What an old head learnt, the newer ones were trained on top of. The rows that it was made on
stay in the journal. Heads that training left stay in the trash, beside the budget.
"""

from __future__ import annotations

import structlog

from finetuned.core.promotion import VersionVerdict
from finetuned.core.retention import over_budget
from finetuned.errors import ModelError, RegistryError
from finetuned.layout import Layout
from finetuned.registry.backup import last_verified_backup
from finetuned.registry.check import folder_bytes
from finetuned.registry.prune import prune
from finetuned.registry.trash import (
    empty_trash,
    expendable_heads,
    is_half_emptied,
    list_trash,
)
from finetuned.registry.versions import known_manifest, list_versions
from finetuned.supervisor.context import Context

log = structlog.get_logger()


class OldHeads:
    """
    Looks after held versions whenever the head has changed.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked: int | None = None
        """Number of the decision on the head at the last look."""

    def look(self) -> None:
        """
        Move old heads to the trash, and delete the oldest there above registry.held_trash_bytes.

        While a link, the pins or a manifest cannot be read nothing is moved.

        Raises:
            OSError: The file system refused; it is done at the next look.
        """
        last = self._context.journal.heads.last()
        if last is None or last.seq == self._looked:
            return
        try:
            if len(_held(self._context.layout)) > self._context.config.registry.keep_heads:
                self._prune()
            self._keep_to_budget()
        except (RegistryError, ModelError) as error:
            log.warning("old_heads_kept", error=str(error))  # a person has to mend that first
        self._looked = last.seq

    def _prune(self) -> None:
        layout, keep_heads = self._context.layout, self._context.config.registry.keep_heads
        # A backup is read only if something may go.
        if prune(layout, keep_last=None, keep_heads=keep_heads, last_backup=None).remove:
            backup = last_verified_backup(layout)
            prune(layout, keep_last=None, keep_heads=keep_heads, last_backup=backup, apply=True)

    def _keep_to_budget(self) -> None:
        """Empty the trash above the budget, also of what a look that was killed has left there."""
        layout, parents = self._context.layout, self._context.journal.versions.parents()
        interrupted = is_half_emptied(layout)
        if not interrupted and not list_trash(layout):
            return
        folders = expendable_heads(layout, parents)
        sizes = {name: folder_bytes(layout.trash / name) for name in folders}
        gone = over_budget(sizes, self._context.config.registry.held_trash_bytes)
        if gone or interrupted:  # the trash is read only if something has to go
            empty_trash(layout, parents=parents, only=gone, apply=True)


def _held(layout: Layout) -> list[str]:
    found = ((name, known_manifest(layout, name)) for name in list_versions(layout))
    return [n for n, manifest in found if manifest and manifest.verdict == VersionVerdict.HELD]
