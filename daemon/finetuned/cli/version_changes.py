"""
Commands on versions that throw nothing away: promote, rollback, backup, restore, pin, unpin.
"""

from __future__ import annotations

import argparse
from typing import Final

from finetuned.cli.version_answer import Answer, chosen
from finetuned.core.head import NewHead
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.text import printable
from finetuned.errors import RegistryError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup, restore
from finetuned.registry.current_model import promote, rollback
from finetuned.registry.pins import pin, unpin
from finetuned.registry.versions import read_version


def _record(layout: Layout, version: str | None, cause: PromotionCause) -> None:
    """
    Write into the journal, which decides what current_model names, also while the daemon runs.
    """
    if layout.journal.exists():
        journal = Journal(layout.journal)
        journal.put_in_use(version, cause, head=NewHead(version, HeadCause(cause)))
        journal.close()


def _promote(layout: Layout, args: argparse.Namespace) -> Answer:
    found = read_version(layout, args.version).manifest
    if found.verdict == "rejected" and not args.anyway:
        raise RegistryError(
            f"the gate rejected {args.version} ({printable(str(found.reason))}); "
            f"to put it in use all the same: finetuned versions promote {args.version} --anyway"
        )
    promote(layout, args.version)
    _record(layout, args.version, PromotionCause.PROMOTE)
    text = f"{args.version} verified; current_model names it now"
    return Answer({"current": args.version}, text)


def _rollback(layout: Layout, args: argparse.Namespace) -> Answer:
    name = rollback(layout, args.to, to_base=args.to_base)
    _record(layout, name, PromotionCause.ROLLBACK)
    text = f"current_model names {name} now" if name else "no version is in use now"
    return Answer({"current": name}, text)


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
