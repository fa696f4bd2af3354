"""
Commands on versions that change nothing: list, show, verify.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from finetuned.cli.session import DONE, REFUSED
from finetuned.cli.terminal import size
from finetuned.cli.version_answer import Answer, chosen
from finetuned.core.text import printable
from finetuned.errors import ModelError, RegistryError
from finetuned.files.family_list import read_families
from finetuned.files.model_manifest import ModelManifest
from finetuned.layout import Layout
from finetuned.registry.check import check_all, check_versions, count_bytes, folder_bytes
from finetuned.registry.current_model import incumbent
from finetuned.registry.head import linked_head
from finetuned.registry.pins import read_pins
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import list_versions, read_version

SLOW_BYTES = 200 * 2**20
"""Verifying more than this takes about a second, so a terminal gets a progress bar."""


@dataclass(frozen=True, slots=True)
class _Row:
    """
    One version in the list.
    """

    version: str
    pinned: dict[str, str] | None
    backup: bool
    manifest: ModelManifest | None
    error: str | None = None

    @classmethod
    def read(cls, layout: Layout, name: str, pinned: dict[str, str] | None) -> _Row:
        """Read the version *name*; a damaged one has an ``error``."""
        backup = (layout.backups / name).is_dir()
        try:
            found = read_version(layout, name)
        except ModelError as error:
            return cls(name, pinned, backup, None, error=str(error))
        return cls(name, pinned, backup, found.manifest)

    def as_json(self) -> dict[str, object]:
        """Return what --json prints of it."""
        row = {"version": self.version, "pinned": self.pinned, "backup": self.backup}
        found = self.manifest
        if found is None:
            return {**row, "state": "damaged", "error": self.error}
        return {
            **row,
            "state": "complete",
            "parent": found.parent,
            "bytes": found.size_bytes,
            "base": found.base,
            "created_at": found.created_at,
            "run_id": found.run_id,
            "verdict": found.verdict,
        }

    def line(self, *, in_use: bool, head: bool) -> str:
        """Return what a person reads of it."""
        found = self.manifest
        notes = [found.verdict] if found and found.verdict else []
        notes += ["backup"] if self.backup else []
        notes += [f"pinned: {printable(self.pinned['reason'])}"] if self.pinned else []
        notes += [self.error] if self.error is not None else []
        parent = (found.parent if found else None) or "-"
        created = ((found.created_at if found else None) or "?")[:19]
        return (
            f"{'*' if in_use else '>' if head else ' '} {self.version:9}{parent:9}{created:22}"
            f"{size(found.size_bytes if found else None):>12}  {', '.join(notes)}"
        )


def _list(layout: Layout, _: argparse.Namespace) -> Answer:
    pins = read_pins(layout)
    rows = [_Row.read(layout, name, pins.get(name)) for name in list_versions(layout)]
    problem = ""
    try:
        current = incumbent(layout)
    except RegistryError as error:
        current, problem = None, f"\n{error}"
    try:
        head = linked_head(layout)
    except RegistryError as error:
        head, problem = None, f"{problem}\n{error}"
    lines = [f"  {'version':9}{'parent':9}{'created':22}{'size':>12}  notes"]
    lines += [row.line(in_use=row.version == current, head=row.version == head) for row in rows]
    if not rows:
        lines = ["no versions yet: drop a JSONL file into inbox/ and let the daemon run"]
    data = {
        "current": current,
        "head": head,
        "versions": [row.as_json() for row in rows],
        "trash": list_trash(layout),
    }
    if head not in (None, current):
        lines.append("> is the head, from which training goes on; it is not in use")
    return Answer(data, "\n".join(lines) + problem)


def _show(layout: Layout, args: argparse.Namespace) -> Answer:
    version = read_version(layout, chosen(layout, args.version))
    families = [
        {"name": f.name, "folder": f.folder, "files": [asdict(file) for file in f.files]}
        for f in read_families(version.path)
    ]
    manifest = {**version.manifest.document, **({"families": families} if families else {})}
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    return Answer(manifest, orjson.dumps(manifest, option=options).decode())


@contextmanager
def _progress(layout: Layout) -> Iterator[Callable[[str, Path], None] | None]:
    """
    Show on a terminal what is being read, if it takes more than a moment.
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
    text = "\n".join(map(printable, lines)) or "no versions yet"
    return Answer(asdict(found), text, REFUSED if found.damaged else DONE)


COMMANDS: Final = {"list": _list, "show": _show, "verify": _verify}
