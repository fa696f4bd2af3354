"""
Commands on versions that throw nothing away: promote, rollback, backup, restore, pin, unpin.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from finetuned.cli.version_answer import Answer, chosen
from finetuned.core.head import NewHead, after_promotion
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.core.text import printable
from finetuned.errors import RegistryError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup, restore
from finetuned.registry.current_model import linked_version, promote, rollback
from finetuned.registry.head import linked_head, move_head
from finetuned.registry.pins import pin, unpin
from finetuned.registry.versions import read_version


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


def _promote(layout: Layout, args: argparse.Namespace) -> Answer:
    found = read_version(layout, args.version).manifest
    if found.verdict == VersionVerdict.REJECTED and not args.anyway:
        raise RegistryError(
            f"the gate rejected {args.version} ({printable(str(found.reason))}); "
            f"to put it in use all the same: finetuned versions promote {args.version} --anyway"
        )
    promote(layout, args.version)
    head: str | None = args.version
    with _recorded(layout) as journal:
        if journal is not None:
            head = after_promotion(
                journal.heads.version(), args.version, journal.versions.parents()
            )
            moved = NewHead(head, HeadCause.PROMOTE)
            journal.put_in_use(args.version, PromotionCause.PROMOTE, head=moved)
    move_head(layout, head)
    text = f"{args.version} verified; current_model names it now; {_goes_on(head)}"
    return Answer({"current": args.version, "head": head}, text)


def _rollback(layout: Layout, args: argparse.Namespace) -> Answer:
    if args.head and args.to_base and linked_version(layout) is None:
        name = None  # no version is in use, and training goes back to the base model as well
    else:
        name = rollback(layout, args.to, to_base=args.to_base)
    with _recorded(layout) as journal:
        moved = NewHead(name, HeadCause.ROLLBACK) if args.head else None
        if journal is not None:
            journal.put_in_use(name, PromotionCause.ROLLBACK, head=moved)
            head = journal.heads.version()
        else:
            head = name if args.head else linked_head(layout)
    move_head(layout, head)
    text = f"current_model names {name} now" if name else "no version is in use now"
    if head != name:
        text += f"; {_goes_on(head)}: to go back with training as well, add --head"
    return Answer({"current": name, "head": head}, text)


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
