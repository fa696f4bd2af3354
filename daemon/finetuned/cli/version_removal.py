"""
Commands that throw versions, backups or trash away: prune, delete.
"""

from __future__ import annotations

import argparse
from typing import Final

from finetuned.cli.terminal import ask, complain
from finetuned.cli.version_answer import Answer
from finetuned.config import load_sections
from finetuned.core.head import Parents
from finetuned.core.text import printable
from finetuned.errors import RegistryError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import last_verified_backup
from finetuned.registry.current_model import incumbent
from finetuned.registry.delete import delete, delete_backup
from finetuned.registry.head import linked_head
from finetuned.registry.prune import prune
from finetuned.registry.trash import empty_trash


def _check_in_step(layout: Layout) -> None:
    """
    Refuse to throw away while the journal and a link disagree on release or head.
    """
    if not layout.journal.exists():
        return
    journal = Journal(layout.journal)
    last, head = journal.promotions.last(), journal.heads.last()
    journal.close()
    if last is not None and (decided := last.version) != (found := incumbent(layout)):
        raise RegistryError(
            f"the journal has decided on {decided or 'the base model'}, but current_model names "
            f"{found or 'nothing'}; nothing is thrown away until they agree: start the daemon, or "
            f"finetuned versions {f'promote {decided}' if decided else 'rollback --to-base'}"
        )
    if head is not None and head.version != (found := linked_head(layout)):
        raise RegistryError(
            f"training goes on from {head.version or 'the base model'}, but models/head names "
            f"{found or 'nothing'}; nothing is thrown away until they agree: start the daemon"
        )


def _confirmation(layout: Layout, args: argparse.Namespace, what: str) -> str | None:
    """
    Return the name as a person confirmed it: by --confirm, or now on a terminal.

    Nobody is asked about a folder that is not there: the registry says so at once.
    """
    if args.confirm is not None:
        return str(args.confirm)
    folder = (layout.backups if args.backup else layout.versions) / args.version
    if not folder.is_dir():
        return str(args.version)
    return ask(f"{what} goes to the trash; type its name to confirm: ")


def _delete(layout: Layout, args: argparse.Namespace) -> Answer:
    _check_in_step(layout)
    what = f"the backup of {args.version}" if args.backup else str(args.version)
    act = delete_backup if args.backup else delete
    path = act(layout, args.version, confirm=_confirmation(layout, args, what))
    data = {"version": args.version, "backup": args.backup, "trash": path.name}
    return Answer(data, f"{what} is in the trash now: {path.name}")


def _empty_trash(layout: Layout, args: argparse.Namespace, dry: str) -> Answer:
    plan = empty_trash(layout, confirm=args.confirm, parents=_parents(layout), apply=args.yes)
    verb = "deleted" if args.yes else "delete "
    lines = [f"{printable(n):30} {verb} {why}" for n, why in plan.delete.items()]
    lines += [f"{printable(n):30} stays   {why}" for n, why in plan.stay.items()]
    if plan.stay:
        names = " ".join(f"--confirm {printable(name)}" for name in plan.stay)
        lines.append(f"to delete what stays as well, add its name: {names}")
    data = {"delete": plan.delete, "stay": plan.stay, "applied": args.yes}
    return Answer(data, dry + "\n".join(lines or ["the trash is empty"]))


def _parents(layout: Layout) -> Parents:
    """Return what each version was trained on, by the journal; nothing if there is none."""
    if not layout.journal.exists():
        return {}
    journal = Journal(layout.journal)
    try:
        return journal.versions.parents()
    finally:
        journal.close()


def _keep(layout: Layout, given: int | None) -> tuple[int, int]:
    """Return how many other versions and how many heads a prune keeps."""
    config, mistakes = load_sections(layout.config, ("registry",))
    for mistake in mistakes:
        complain("versions", f"{mistake} (not needed here, but the daemon will refuse it)")
    registry = config.registry
    return registry.keep_last if given is None else given, registry.keep_heads


def _prune(layout: Layout, args: argparse.Namespace) -> Answer:
    _check_in_step(layout)
    dry = "" if args.yes else "dry run, nothing was changed; add --yes to do it\n"
    if args.empty_trash:
        return _empty_trash(layout, args, dry)
    keep_last, keep_heads = _keep(layout, args.keep_last)
    plan = prune(
        layout,
        keep_last=keep_last,
        keep_heads=keep_heads,
        last_backup=last_verified_backup(layout),
        apply=args.yes,
    )
    verb = "moved to the trash" if args.yes else "would go to the trash"
    lines = [f"{name}  keep    {why}" for name, why in plan.keep.items()]
    lines += [f"{name}  remove  {verb}" for name in plan.remove] or ["nothing to remove"]
    data = {"keep": plan.keep, "remove": plan.remove, "applied": args.yes}
    return Answer(data, dry + "\n".join(lines))


COMMANDS: Final = {"prune": _prune, "delete": _delete}
