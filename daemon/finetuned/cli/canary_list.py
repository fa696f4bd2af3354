"""
Commands on the list of canaries, a file: list, add, remove.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.cli.canary_rows import answered, own_row, production_row, suite_rows
from finetuned.cli.session import DONE
from finetuned.cli.terminal import ask, complain, shown
from finetuned.config import load_sections
from finetuned.core.text import printable
from finetuned.data.examples import prompt_hash
from finetuned.data.reader import to_example
from finetuned.data.strict_json import parse_line
from finetuned.data.suite import Suite, load_suite
from finetuned.errors import BaseModelMissing, MalformedExample, RegistryError, SuiteError
from finetuned.files.atomic import write_atomic
from finetuned.files.lock import held
from finetuned.files.shipped import find_suite
from finetuned.layout import CANARIES, Layout
from finetuned.reports.wording import count, shorten

WAIT_SECONDS = 30.0
"""For another process that changes the list."""


def list_file(layout: Layout) -> Path:
    """
    Return the file of the list, links resolved.
    """
    return (layout.benchmarks / f"{CANARIES}.jsonl").resolve()


@contextmanager
def _locked(layout: Layout) -> Iterator[Path]:
    """
    Be the only one that changes the list.
    """
    layout.models.mkdir(parents=True, exist_ok=True)
    layout.benchmarks.mkdir(parents=True, exist_ok=True)
    with held(layout.models / ".canaries.lock", wait_seconds=WAIT_SECONDS):
        yield list_file(layout)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _replace(layout: Layout, path: Path, data: bytes) -> Suite:
    """
    Put *data* in the place of the list, if it is one that every model here can be asked.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        trial.write_bytes(data)
        suite = load_suite(trial)
    _check_renderable(layout, suite)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    write_atomic(path, data, mode=mode)
    return suite


def _check_renderable(layout: Layout, suite: Suite) -> None:
    """
    Refuse what the base model's template cannot show: the gate would fail every candidate.
    """
    from finetuned.data.render import Renderer
    from finetuned.evaluation.selected_suites import PickedSuite, renderable
    from finetuned.files.base_model import find_base

    config, mistakes = load_sections(layout.config, ("model", "data"))
    for mistake in mistakes:
        complain("canary", f"{mistake} (not needed here, but the daemon will refuse it)")
    try:
        renderer = Renderer.load(
            find_base(layout, config.model.base),
            max_length=config.data.max_length,
            enable_thinking=config.model.enable_thinking,
        )
    except BaseModelMissing:
        complain("canary", f"not tried on {config.model.base!r}, which is not here")
        return
    if (problem := renderable(PickedSuite(suite), renderer).problem) is not None:
        raise SuiteError(Path(suite.title), None, problem)


def _list(layout: Layout, args: argparse.Namespace) -> int:
    path = list_file(layout)
    questions = load_suite(path).questions if path.exists() else ()
    if args.json:
        rows = [
            {
                "id": q.id,
                "scorer": q.scorer.name,
                "system": q.system,
                "prompt": q.prompt,
                "expected": q.golden if q.expected is None else q.expected,
            }
            for q in questions
        ]
        print(orjson.dumps({"canaries": rows}).decode())
        return DONE
    width = max((len(printable(q.id)) for q in questions), default=0)
    for q in questions:
        print(f"{printable(q.id):{width}}  {q.scorer.name:10}  {shorten(q.prompt, 80)}")
    if not questions:
        print(f"no canaries yet: {shown(path)} is not there; finetuned canary add")
    return DONE


def _add(layout: Layout, args: argparse.Namespace) -> int:
    if args.suite is not None:
        rows = suite_rows(_suite_file(layout, args.suite))
    else:
        rows = [own_row(args) if args.from_production is None else production_row(args)]
    with _locked(layout) as path:
        before = _read(path)
        _refuse_double(path, rows)
        if before and not before.endswith(b"\n"):
            before += b"\n"
        lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        suite = _replace(layout, path, before + lines)
    if args.json:
        added = {"added": rows[0]} if args.suite is None else {"added": rows}
        print(orjson.dumps({**added, "n_canaries": len(suite.questions)}).decode())
    else:
        one = len(rows) == 1
        what = printable(str(rows[0]["id"])) if one else count(len(rows), "canary", "canaries")
        print(
            f"{what} {'was' if one else 'were'} added to {shown(path)},"
            f" which has {count(len(suite.questions), 'canary', 'canaries')} now"
        )
    return DONE


def _suite_file(layout: Layout, named: Path) -> Path:
    """Return the file that --suite names: a path, or a suite of the root or of the program."""
    return named if named.is_file() else find_suite(layout, str(named)) or named


def _refuse_double(path: Path, rows: list[dict[str, Any]]) -> None:
    """Refuse to have an id or a question twice, in the list or among *rows*."""
    known = load_suite(path).questions if path.exists() else ()
    ids = {question.id for question in known}
    asked = {prompt_hash(question.example): question.id for question in known}
    for row in rows:
        hashed = prompt_hash(
            to_example({"messages": answered(row["messages"]), "tools": row.get("tools")})
        )
        if row["id"] in ids:
            raise RegistryError(f"there is a canary {row['id']!r} already; nothing was changed")
        if hashed in asked:
            raise RegistryError(f"canary {asked[hashed]!r} asks the same; nothing was changed")
        ids.add(row["id"])
        asked[hashed] = row["id"]


def _remove(layout: Layout, args: argparse.Namespace) -> int:
    confirm = args.confirm
    if confirm is None:
        confirm = ask(f"type {args.id} to confirm: ")
    with _locked(layout) as path:
        lines = _read(path).split(b"\n")
        places = [i for i, line in enumerate(lines) if line.strip() and _id(line, i) == args.id]
        if not places:
            raise RegistryError(f"there is no canary {args.id!r} in {shown(path)}")
        if confirm != args.id:
            raise RegistryError(f"add --confirm {args.id}; nothing was changed")
        if sum(bool(line.strip()) for line in lines) == 1:
            raise RegistryError(
                f"{args.id!r} is the last one: the gate asks for a list that is not empty;"
                f" if there are to be no canaries, delete {shown(path)} yourself and name the"
                " suites to be asked in evaluation.suites"
            )
        suite = _replace(layout, path, b"\n".join(lines[: places[0]] + lines[places[0] + 1 :]))
    if args.json:
        print(orjson.dumps({"removed": args.id, "n_canaries": len(suite.questions)}).decode())
    else:
        left = count(len(suite.questions), "canary", "canaries")
        print(f"{printable(args.id)} was removed; {left} left")
    return DONE


def _id(line: bytes, place: int) -> str | None:
    """Return the id of a line as load_suite() gives it; None for a line that is no item."""
    try:
        row = parse_line(line)
    except MalformedExample:
        return None
    found = row.get("id", str(place + 1)) if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


COMMANDS: Final = {"list": _list, "add": _add, "remove": _remove}
