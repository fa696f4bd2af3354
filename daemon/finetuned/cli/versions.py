"""
``finetuned versions``: its commands and their arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from finetuned.cli.session import on_root
from finetuned.cli.verb import UsageError, Verb, add_common

if TYPE_CHECKING:
    from finetuned.cli.version_answer import Answer
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned versions list                          what is there, and which one is in use
  finetuned versions show                          how the version in use came to be
  finetuned versions rollback                      back to what was in use before
  finetuned versions rollback --to v0003           back to a certain version
  finetuned versions rollback --to-base            back to the bare base model
  finetuned versions rollback --head               training goes back there as well
  finetuned versions pin v0003 "used in the talk"  keep it from being pruned
  finetuned versions prune                         say what would go, and why the rest stays
  finetuned versions prune --yes                   move it to models/trash/
  finetuned versions delete v0005 --confirm v0005  move one version to models/trash/
  finetuned versions delete v0005 --backup         move its backup there, and not the version
  finetuned versions prune --empty-trash           say what of the trash may go, and why
  finetuned versions prune --empty-trash --yes     delete that for good; only copies stay
  finetuned versions restore v0004                 rebuild it from models/backups/
  finetuned versions verify                        read and hash every version, backup and trash

Versions, backups and trash are three paths of deletion: no command takes from two of them.

exit status: 0 done, 1 refused or something is damaged (nothing half-done), 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def command(name: str, what: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what)
        add_common(sub)
        sub.set_defaults(command=name)
        return sub

    command(
        "list",
        "List all versions; * marks the one in use, > the head of training if it is another.",
    )
    show = command("show", "Print a version's manifest, and its families of files.")
    show.add_argument("version", nargs="?", help="default: the version in use")
    put = command("promote", "Verify a version and put it in use.")
    put.add_argument("version")
    put.add_argument("--anyway", action="store_true", help="also one that the gate rejected")
    back = command("rollback", "Put back what was in use before.")
    target = back.add_mutually_exclusive_group()
    target.add_argument("--to", metavar="VERSION", help="to this version instead")
    target.add_argument("--to-base", action="store_true", help="to the bare base model instead")
    back.add_argument("--head", action="store_true", help="training goes back there as well")
    command("restore", "Rebuild a version from its backup.").add_argument("version")
    keep = command("pin", "Keep a version from being pruned.")
    keep.add_argument("version")
    keep.add_argument("reason", help="for the person who finds the disk full")
    command("unpin", "Let a version be pruned again.").add_argument("version")
    copy = command("backup", "Copy a version to models/backups/ and verify the copy.")
    copy.add_argument("version", nargs="?", help="default: the version in use")
    check = command("verify", "Read every file and compare its hash.")
    check.add_argument("version", nargs="*", help="default: all, and backups and trash")
    _configure_removal(command)


def _configure_removal(command: Callable[[str, str], argparse.ArgumentParser]) -> None:
    cut = command("prune", "Say which versions would go; with --yes trash them.")
    cut.add_argument("--yes", action="store_true", help="do it")
    cut.add_argument("--keep-last", type=int, metavar="N", help="default: registry.keep_last")
    cut.add_argument("--empty-trash", action="store_true", help="delete the trash instead")
    cut.add_argument(
        "--confirm",
        action="append",
        default=[],
        metavar="NAME",
        help="with --empty-trash: this folder too, though it is the only copy",
    )
    away = command("delete", "Move one version to the trash, its name typed in full.")
    away.add_argument("version")
    away.add_argument("--confirm", metavar="VERSION", help="the name again; asked on a terminal")
    away.add_argument("--backup", action="store_true", help="its backup instead of the version")


def _run(args: argparse.Namespace) -> int:
    if args.command == "prune":
        if args.keep_last is not None and args.keep_last < 0:
            raise UsageError("--keep-last must be >= 0")
        if args.confirm and not args.empty_trash:
            raise UsageError("--confirm is for --empty-trash")
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.cli import version_changes, version_removal, version_views

    commands: dict[str, Callable[[Layout, argparse.Namespace], Answer]] = {
        **version_views.COMMANDS,
        **version_changes.COMMANDS,
        **version_removal.COMMANDS,
    }
    return on_root(args, lambda layout, a: commands[a.command](layout, a).print(as_json=a.json))


VERB = Verb(
    name="versions",
    summary="List versions, put one in use, roll back, restore, verify, throw away.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
