"""
Commands on versions that throw nothing away: promote, rollback, backup, restore, pin, unpin.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from finetuned.cli.version_answer import Answer, chosen
from finetuned.core.head import NewHead, Parents, after_promotion, descends
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.core.text import printable
from finetuned.errors import RegistryError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup, restore
from finetuned.registry.current_model import linked_version, promote, rollback
from finetuned.registry.head import linked_head, move_head
from finetuned.registry.pins import pin, unpin
from finetuned.registry.versions import known_manifest, list_versions, read_version


@contextmanager
def _recorded(layout: Layout) -> Iterator[Journal | None]:
    """
    Open the journal, which decides what both links name, also while the daemon runs.

    Yields:
        None if there is no journal yet.
    """
    if not layout.journal.exists():
        yield None
        return
    journal = Journal(layout.journal)
    try:
        yield journal
    finally:
        journal.close()


def _parents(layout: Layout, journal: Journal | None) -> Parents:
    """Return what each version was trained on: by the journal, or by the manifests without one."""
    if journal is not None:
        return journal.versions.parents()
    manifests = ((name, known_manifest(layout, name)) for name in list_versions(layout))
    return {name: found.parent for name, found in manifests if found is not None}


def _check_is_back(layout: Layout, journal: Journal | None, name: str) -> None:
    """Refuse to roll back to a version that was rejected, or that nobody ever had in use."""
    found = read_version(layout, name).manifest
    if found.verdict == VersionVerdict.REJECTED:
        raise RegistryError(f"{_rejected(name, found.reason)}: that is no way back; {_put(name)}")
    used = set() if journal is None else journal.promotions.versions()
    if found.verdict != VersionVerdict.HELD or name in used:
        return
    current = linked_version(layout)
    if not descends(current, name, _parents(layout, journal)):
        raise RegistryError(
            f"{name} was never in use, and {current or 'the base model'}, which is, was not "
            "trained on top of it: that is no way back; "
            f"to put it in use: finetuned versions promote {name}"
        )


def _rejected(name: str, reason: str | None) -> str:
    return f"the gate rejected {name} ({printable(str(reason))})"


def _put(name: str) -> str:
    return f"to put it in use all the same: finetuned versions promote {name} --anyway"


@dataclass
class _Change:
    """
    What the head has learnt, before and after a command.
    """

    before: set[str] = field(default_factory=set)
    """Keys of the files."""
    after: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)
    """Rows for training of each file that is in one of them only."""

    def words(self) -> str:
        """Return which files and rows come or go; empty if none does."""
        gone, come = self.before - self.after, self.after - self.before
        text = f"; {self._count(come)} learnt again" if come else ""
        if gone:
            text += (
                f"; {self._count(gone)} not learnt any more: to see them finetuned datasets "
                "--unlearnt, to train them again finetuned retry KEY"
            )
        return text

    def _count(self, keys: set[str]) -> str:
        n, rows = len(keys), sum(self.rows.get(key, 0) for key in keys)
        return f"{n} {'file' if n == 1 else 'files'} with {rows:,} rows {'is' if n == 1 else 'are'}"

    def data(self) -> dict[str, object]:
        """Return the same as plain JSON: the keys of the files."""
        gone, come = self.before - self.after, self.after - self.before
        return {"unlearnt": sorted(gone), "learnt_again": sorted(come)}


@contextmanager
def _noted(journal: Journal | None) -> Iterator[_Change]:
    """Note what the head has learnt before and after the block; nothing without a journal."""
    change = _Change()
    if journal is None:
        yield change
        return
    change.before = set(journal.books.learnt(journal.head_lineage()))
    yield change
    change.after = set(journal.books.learnt(journal.head_lineage()))
    for key in change.before ^ change.after:
        row = journal.datasets.get(key)
        change.rows[key] = 0 if row is None else row.n_train_rows or 0


def _promote(layout: Layout, args: argparse.Namespace) -> Answer:
    found = read_version(layout, args.version).manifest
    if found.verdict == VersionVerdict.REJECTED and not args.anyway:
        raise RegistryError(f"{_rejected(args.version, found.reason)}; {_put(args.version)}")
    head: str | None = args.version
    with _recorded(layout) as journal, _noted(journal) as change:

        def decided(_: str | None) -> None:
            nonlocal head
            if journal is not None:
                parents = journal.versions.parents()
                head = after_promotion(journal.heads.version(), args.version, parents)
                moved = NewHead(head, HeadCause.PROMOTE)
                journal.put_in_use(args.version, PromotionCause.PROMOTE, head=moved)

        promote(layout, args.version, decided=decided)
    move_head(layout, head)
    text = f"{args.version} verified; current_model names it now; {_goes_on(head)}{change.words()}"
    return Answer({"current": args.version, "head": head, **change.data()}, text)


def _rollback(layout: Layout, args: argparse.Namespace) -> Answer:
    with _recorded(layout) as journal, _noted(journal) as change:
        if args.to is not None:
            _check_is_back(layout, journal, args.to)

        def decided(version: str | None) -> None:
            if journal is not None:
                moved = NewHead(version, HeadCause.ROLLBACK) if args.head else None
                journal.put_in_use(version, PromotionCause.ROLLBACK, head=moved)

        if args.head and args.to_base and linked_version(layout) is None:
            name = None  # no version is in use, and training goes back to the base model as well
            decided(name)
        else:
            name = rollback(layout, args.to, to_base=args.to_base, decided=decided)
        if journal is not None:
            head = journal.heads.version()
        else:
            head = name if args.head else linked_head(layout)
    move_head(layout, head)
    text = f"current_model names {name} now" if name else "no version is in use now"
    if head != name:
        text += f"; {_goes_on(head)}: to go back with training as well, add --head"
    text += change.words()
    return Answer({"current": name, "head": head, **change.data()}, text)


def _goes_on(head: str | None) -> str:
    return f"training goes on from {head or 'the base model'}"


def _backup(layout: Layout, args: argparse.Namespace) -> Answer:
    name = chosen(layout, args.version)
    path = backup(layout, name)
    text = f"{name} copied to {path} and verified there"
    return Answer({"version": name, "path": str(path)}, text)


def _restore(layout: Layout, args: argparse.Namespace) -> Answer:
    done = restore(layout, args.version)
    text = "rebuilt from its backup and verified" if done else "is intact; nothing was done"
    return Answer({"version": args.version, "restored": done}, f"{args.version} {text}")


def _pin(layout: Layout, args: argparse.Namespace) -> Answer:
    pin(layout, args.version, args.reason)
    return Answer({"version": args.version, "pinned": True}, f"{args.version} will not be pruned")


def _unpin(layout: Layout, args: argparse.Namespace) -> Answer:
    unpin(layout, args.version)
    text = f"{args.version} may be pruned again"
    return Answer({"version": args.version, "pinned": False}, text)


COMMANDS: Final = {
    "promote": _promote,
    "rollback": _rollback,
    "backup": _backup,
    "restore": _restore,
    "pin": _pin,
    "unpin": _unpin,
}
