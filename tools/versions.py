#!/usr/bin/env python3
"""
Look at and act on the versions of a root: list, promote, roll back, restore, verify, throw away.

    $ tools/versions.py list
      version  parent   created                       size  notes
      v0001    -        2026-11-20T10:09:41       10.1 MiB  promoted, backup
      v0002    v0001    2026-11-20T10:09:41       10.1 MiB  promoted, backup
      v0003    v0002    2026-11-20T10:09:41       10.1 MiB  rejected, pinned: used in the talk
    * v0004    v0002    2026-11-20T10:09:42       10.1 MiB  promoted, backup
      v0005    v0004    2026-11-20T10:09:42       10.1 MiB  rejected
    $ tools/versions.py rollback
    current_model names v0002 now
    $ tools/versions.py prune --keep-last 0
    dry run, nothing was changed; add --yes to do it
    v0001  keep    ancestor of v0002: incumbent
    v0002  keep    incumbent
    v0003  keep    pinned
    v0004  keep    last verified backup
    v0005  remove  would go to the trash
    $ tools/versions.py delete v0005
    v0005 goes to the trash; type its name to confirm: v0005
    v0005 is in the trash now: v0005-20261120T101112Z
    $ tools/versions.py prune --empty-trash
    dry run, nothing was changed; add --yes to do it
    v0005-20261120T101112Z         delete  rejected by the gate

Versions, backups and trash are three paths of deletion: no command takes from two of them.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from finetuned.config import load_config
from finetuned.core.text import printable
from finetuned.errors import FinetunedError, ModelError, RegistryError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.registry.backup import backup, last_verified_backup, restore
from finetuned.registry.check import check_all, check_versions, count_bytes, folder_bytes
from finetuned.registry.delete import delete, delete_backup
from finetuned.registry.pins import pin, read_pins, unpin
from finetuned.registry.prune import prune
from finetuned.registry.trash import empty_trash, list_trash
from finetuned.registry.versions import (
    Version,
    incumbent,
    list_versions,
    promote,
    read_version,
    rollback,
)
from finetuned.telemetry.log import configure

Answer = tuple[Any, str]
"""What --json prints, and what a person reads."""

SLOW_BYTES = 200 * 2**20
"""Verifying more than this takes about a second, so a terminal gets a progress bar."""

EXAMPLES = """
examples:
  tools/versions.py list                          what is there, and which one is in use
  tools/versions.py show                          how the version in use came to be
  tools/versions.py rollback                      back to the parent of the version in use
  tools/versions.py rollback --to v0003           back to a certain version
  tools/versions.py rollback --to-base            back to the bare base model
  tools/versions.py pin v0003 "used in the talk"  keep it from being pruned
  tools/versions.py prune                         say what would go, and why the rest stays
  tools/versions.py prune --yes                   move it to models/trash/
  tools/versions.py delete v0005 --confirm v0005  move one version to models/trash/
  tools/versions.py delete v0005 --backup         move its backup there, and not the version
  tools/versions.py prune --empty-trash           say what of the trash may go, and why
  tools/versions.py prune --empty-trash --yes     delete that for good; only copies stay
  tools/versions.py restore v0004                 rebuild it from models/backups/
  tools/versions.py verify                        read and hash every version, backup and trash

exit status: 0 done, 1 refused or something is damaged (nothing half-done), 2 wrong usage
"""


def _row(layout: Layout, name: str, pins: dict[str, dict[str, str]]) -> dict[str, Any]:
    row: dict[str, Any] = {"version": name, "pinned": pins.get(name)}
    row["backup"] = (layout.backups / name).is_dir()
    try:
        version = read_version(layout, name)
    except ModelError as error:
        return {**row, "state": "damaged", "error": str(error)}
    facts = ("base", "created_at", "run_id", "verdict")
    row |= {"state": "complete", "parent": version.parent, "bytes": version.bytes}
    return row | {key: version.manifest.get(key) for key in facts}


def _size(count: int | None) -> str:
    if count is None:
        return "?"
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def _list(layout: Layout, _: argparse.Namespace) -> Answer:
    pins = read_pins(layout)
    rows = [_row(layout, name, pins) for name in list_versions(layout)]
    problem = ""
    try:
        current = incumbent(layout)
    except RegistryError as error:
        current, problem = None, f"\n{error}"
    lines = [f"  {'version':9}{'parent':9}{'created':22}{'size':>12}  notes"]
    for row in rows:
        notes = [str(row["verdict"])] if row.get("verdict") else []
        notes += ["backup"] if row["backup"] else []
        notes += [f"pinned: {printable(row['pinned']['reason'])}"] if row["pinned"] else []
        notes += [row["error"]] if row["state"] == "damaged" else []
        lines.append(
            f"{'*' if row['version'] == current else ' '} {row['version']:9}"
            f"{row.get('parent') or '-':9}{str(row.get('created_at') or '?')[:19]:22}"
            f"{_size(row.get('bytes')):>12}  {', '.join(notes)}"
        )
    if not rows:
        lines = ["no versions yet: drop a JSONL file into inbox/ and let the daemon run"]
    data = {"current": current, "versions": rows, "trash": list_trash(layout)}
    return data, "\n".join(lines) + problem


def _chosen(layout: Layout, name: str | None) -> str:
    name = name or incumbent(layout)
    if name is None:
        raise RegistryError("no version is in use yet; name one")
    return name


def _show(layout: Layout, args: argparse.Namespace) -> Answer:
    version: Version = read_version(layout, _chosen(layout, args.version))
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    return version.manifest, orjson.dumps(version.manifest, option=options).decode()


def _record(layout: Layout, version: str | None, cause: str) -> None:
    """
    Tell the journal, which decides what current_model has to be, also while the daemon runs.
    """
    if layout.journal.exists():
        journal = Journal(layout.journal)
        journal.set_incumbent(version, cause)
        journal.close()


def _promote(layout: Layout, args: argparse.Namespace) -> Answer:
    found = read_version(layout, args.version).manifest
    if found.get("verdict") == "rejected" and not args.anyway:
        raise RegistryError(
            f"the gate rejected {args.version} ({printable(str(found.get('reason')))}); "
            f"to put it in use all the same: tools/versions.py promote {args.version} --anyway"
        )
    promote(layout, args.version)
    _record(layout, args.version, "promote")
    return {"current": args.version}, f"{args.version} verified; current_model names it now"


def _rollback(layout: Layout, args: argparse.Namespace) -> Answer:
    name = rollback(layout, args.to, to_base=args.to_base)
    _record(layout, name, "rollback")
    text = f"current_model names {name} now" if name else "no version is in use now"
    return {"current": name}, text


def _backup(layout: Layout, args: argparse.Namespace) -> Answer:
    name = _chosen(layout, args.version)
    path = backup(layout, name)
    return {"version": name, "path": str(path)}, f"{name} copied to {path} and verified there"


def _restore(layout: Layout, args: argparse.Namespace) -> Answer:
    done = restore(layout, args.version)
    text = "rebuilt from its backup and verified" if done else "is intact; nothing was done"
    return {"version": args.version, "restored": done}, f"{args.version} {text}"


def _pin(layout: Layout, args: argparse.Namespace) -> Answer:
    pin(layout, args.version, args.reason)
    return {"version": args.version, "pinned": True}, f"{args.version} will not be pruned"


def _unpin(layout: Layout, args: argparse.Namespace) -> Answer:
    unpin(layout, args.version)
    return {"version": args.version, "pinned": False}, f"{args.version} may be pruned again"


def _check_in_step(layout: Layout) -> None:
    """
    Refuse to throw away while the journal and current_model disagree on what is in use.
    """
    if not layout.journal.exists():
        return
    journal = Journal(layout.journal)
    decided, any_yet = journal.incumbent(), journal.has_promotions()
    journal.close()
    if any_yet and decided != (found := incumbent(layout)):
        raise RegistryError(
            f"the journal has decided on {decided or 'the base model'}, but current_model names "
            f"{found or 'nothing'}; nothing is thrown away until they agree: start the daemon, or "
            f"tools/versions.py {f'promote {decided}' if decided else 'rollback --to-base'}"
        )


def _typed(args: argparse.Namespace, what: str) -> str | None:
    """
    Return the name as a person confirmed it: by --confirm, or now, where there is somebody to ask.
    """
    if args.confirm is not None or not sys.stdin.isatty():
        return args.confirm if args.confirm is None else str(args.confirm)
    question = f"{printable(what)} goes to the trash; type its name to confirm: "
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _delete(layout: Layout, args: argparse.Namespace) -> Answer:
    _check_in_step(layout)
    what = f"the backup of {args.version}" if args.backup else args.version
    act = delete_backup if args.backup else delete
    path = act(layout, args.version, confirm=_typed(args, what))
    data = {"version": args.version, "backup": args.backup, "trash": path.name}
    return data, f"{what} is in the trash now: {path.name}"


def _empty_trash(layout: Layout, args: argparse.Namespace, dry: str) -> Answer:
    plan = empty_trash(layout, confirm=args.confirm, apply=args.yes)
    verb = "deleted" if args.yes else "delete "
    lines = [f"{printable(n):30} {verb} {why}" for n, why in plan.delete.items()]
    lines += [f"{printable(n):30} stays   {why}" for n, why in plan.stay.items()]
    if plan.stay:
        names = " ".join(f"--confirm {printable(name)}" for name in plan.stay)
        lines.append(f"to delete what stays as well, add its name: {names}")
    data = {"delete": plan.delete, "stay": plan.stay, "applied": args.yes}
    return data, dry + "\n".join(lines or ["the trash is empty"])


def _prune(layout: Layout, args: argparse.Namespace) -> Answer:
    _check_in_step(layout)
    dry = "" if args.yes else "dry run, nothing was changed; add --yes to do it\n"
    if args.empty_trash:
        return _empty_trash(layout, args, dry)
    keep_last = args.keep_last
    if keep_last is None:
        keep_last = load_config(layout.config).registry.keep_last
    plan = prune(
        layout, keep_last=keep_last, last_backup=last_verified_backup(layout), apply=args.yes
    )
    verb = "moved to the trash" if args.yes else "would go to the trash"
    lines = [f"{name}  keep    {why}" for name, why in plan.keep.items()]
    lines += [f"{name}  remove  {verb}" for name in plan.remove] or ["nothing to remove"]
    data = {"keep": plan.keep, "remove": plan.remove, "applied": args.yes}
    return data, dry + "\n".join(lines)


@contextmanager
def _progress(layout: Layout) -> Iterator[Callable[[str, Path], None] | None]:
    """
    Show what is being read on a terminal, where there is more than a moment's worth of it.
    """
    total = count_bytes(layout) if sys.stderr.isatty() else 0
    if total < SLOW_BYTES:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, begun = bar.add_task("", total=total), 0

        def before(label: str, path: Path) -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=printable(label))
            begun += folder_bytes(path)

        yield before


def _verify(layout: Layout, args: argparse.Namespace) -> Answer:
    if args.version:
        found = check_versions(layout, args.version)
    else:
        with _progress(layout) as before:
            found = check_all(layout, before)
    lines = [f"{name}  intact" for name in found.intact]
    lines += [f"{name}  DAMAGED  {why}" for name, why in found.damaged.items()]
    lines += [f"{name}  damaged  {why}" for name, why in found.damaged_in_trash.items()]
    lines += [f"note: {note}" for note in found.notes]
    return asdict(found), "\n".join(map(printable, lines)) or "no versions yet"


def _parser() -> argparse.ArgumentParser:
    # Without defaults: taken before the command as well as after it.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--root", type=Path, metavar="DIR", help="default: the checkout")
    common.add_argument("--json", action="store_true", help="print one JSON object")
    parser = argparse.ArgumentParser(
        parents=[common],
        prog="tools/versions.py",
        description="Look at and act on the versions of a root.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, what: str, do: Callable[[Layout, argparse.Namespace], Answer]
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what, parents=[common])
        sub.set_defaults(do=do)
        return sub

    command("list", "List all versions; * marks the one in use.", _list)
    show = command("show", "Print a version's manifest.", _show)
    show.add_argument("version", nargs="?", help="default: the version in use")
    put = command("promote", "Verify a version and put it in use.", _promote)
    put.add_argument("version")
    put.add_argument("--anyway", action="store_true", help="also one that the gate rejected")
    back = command("rollback", "Put the parent of the version in use back in use.", _rollback)
    target = back.add_mutually_exclusive_group()
    target.add_argument("--to", metavar="VERSION", help="to this version instead")
    target.add_argument("--to-base", action="store_true", help="to the bare base model instead")
    command("restore", "Rebuild a version from its backup.", _restore).add_argument("version")
    keep = command("pin", "Keep a version from being pruned.", _pin)
    keep.add_argument("version")
    keep.add_argument("reason", help="for the person who finds the disk full")
    command("unpin", "Let a version be pruned again.", _unpin).add_argument("version")
    cut = command("prune", "Say which versions would go; with --yes trash them.", _prune)
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
    away = command("delete", "Move one version to the trash, its name typed in full.", _delete)
    away.add_argument("version")
    away.add_argument("--confirm", metavar="VERSION", help="the name again; asked on a terminal")
    away.add_argument("--backup", action="store_true", help="its backup instead of the version")
    copy = command("backup", "Copy a version to models/backups/ and verify the copy.", _backup)
    copy.add_argument("version", nargs="?", help="default: the version in use")
    check = command("verify", "Read every file and compare its hash.", _verify)
    check.add_argument("version", nargs="*", help="default: all, and backups and trash")
    return parser


def main(argv: list[str] | None = None) -> int:
    """
    Do one command and print what came of it.

    Returns:
        0 done, 1 refused or damaged; argparse exits with 2 on wrong usage.
    """
    parser = _parser()
    args = parser.parse_args(argv, argparse.Namespace(root=_venv.CHECKOUT, json=False))
    if not args.root.is_dir():
        parser.error(f"--root {args.root} is not a directory")
    if getattr(args, "keep_last", None) is not None and args.keep_last < 0:
        parser.error("--keep-last must be >= 0")
    if getattr(args, "empty_trash", None) is False and args.confirm:
        parser.error("--confirm is for --empty-trash")
    _venv.become_owner(args.root)
    layout = Layout(args.root.resolve())
    # What a person changes is worth a record: each process has its own file in logs/.
    configure(layout.logs / "versions.log" if layout.logs.is_dir() else None, console=False)
    try:
        data, text = args.do(layout, args)
    except (FinetunedError, OSError) as error:
        if args.json:
            print(orjson.dumps({"error": printable(str(error))}).decode())
        print(f"versions: {printable(str(error))}", file=sys.stderr)
        return 1
    print(orjson.dumps(data).decode() if args.json else text)
    return 1 if isinstance(data, dict) and data.get("damaged") else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head ends it quietly
    sys.exit(main())
