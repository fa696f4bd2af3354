#!/usr/bin/env python3
"""
Keep the list of what must never break: benchmarks/canaries.jsonl.

    $ tools/canary.py add --id motd --prompt "Say hello." --expected "Hello."
    motd was added to benchmarks/canaries.jsonl, which has 21 canaries now
    $ tools/canary.py add --from-production logs/production.jsonl --line 2
    q-2 was added to benchmarks/canaries.jsonl, which has 22 canaries now
    $ tools/canary.py add --from-production logs/production.jsonl --id q-1
    canary: production.jsonl:1 has no correction, so nobody has said what is right; add
    "correct_answer" to the record, or give --expected, or --as-is if you vouch that its answer is

A canary that the version in use passes must be passed by every version after it: the gate
rejects a candidate that loses one. Passwords become references before anything is written.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import evaluating
import orjson
from canary_rows import answered, own_row, production_row

from finetuned.config import load_config
from finetuned.core.scoring.scorer import CHOICE, SCORERS
from finetuned.core.text import printable
from finetuned.data.examples import prompt_hash, to_example
from finetuned.data.strict_json import parse_line
from finetuned.data.suite import Suite, load_suite
from finetuned.errors import BaseModelMissing, MalformedExample, RegistryError, SuiteError
from finetuned.files.atomic import write_atomic
from finetuned.files.lock import held
from finetuned.layout import CANARIES, Layout
from finetuned.reports.wording import count, shorten

TOOL = "canary"
WAIT_SECONDS = 30.0
"""For another process that changes the list."""

TEXT_SCORERS = tuple(name for name in SCORERS if name != CHOICE)
EXAMPLES = """
examples:
  tools/canary.py list
  tools/canary.py add --id motd --prompt "Say hello." --expected "Hello."
  tools/canary.py add --id pi --prompt "What is pi?" --expected 3.14 \\
      --scorer '{"name": "numeric", "tolerance": 0.01}'
  tools/canary.py add --from-production FILE --line 7     a record with a correction
  tools/canary.py add --from-production FILE --id q-17 --as-is    its answer is right
  tools/canary.py run --model v0003                       which ones a version fails
  tools/canary.py remove motd --confirm motd

exit status: 0 done (run: all passed), 1 refused (run: one failed or was not asked), 2 wrong usage
"""


def _parser() -> argparse.ArgumentParser:
    parser = evaluating.parser(TOOL, "Keep the list of what must never break.", EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="List all canaries.")
    listing.set_defaults(do=_list)
    add = commands.add_parser("add", help="Add one, of your own or from production.")
    add.set_defaults(do=_add)
    add.add_argument("--id", help="its name; with --from-production: the record of that id")
    add.add_argument("--prompt", help="what is asked")
    add.add_argument("--system", help="the system message before it")
    add.add_argument("--expected", help="the right answer, or what the scorer compares with")
    add.add_argument(
        "--scorer",
        metavar="NAME_OR_JSON",
        help=f"{', '.join(TEXT_SCORERS)}, or an object with a name and options"
        " (default: json where the expected answer is a JSON object, else exact)",
    )
    add.add_argument(
        "--from-production",
        type=Path,
        metavar="FILE",
        help="take a record of a production log, JSON Lines",
    )
    add.add_argument("--line", type=int, metavar="N", help="which record: its line, from 1")
    add.add_argument(
        "--as-is", action="store_true", help="you vouch that the answer in the record is right"
    )
    remove = commands.add_parser("remove", help="Remove one; the rest of the file stays as it is.")
    remove.set_defaults(do=_remove)
    remove.add_argument("id")
    remove.add_argument("--confirm", metavar="ID", help="the id again; asked on a terminal")
    run = commands.add_parser("run", help="Ask a model all canaries and list those it fails.")
    run.set_defaults(do=_run)
    run.add_argument("--model", default="current_model", help="as in tools/test_runner.py")
    run.add_argument("--fresh", action="store_true", help="ask anew what is known already")
    for command in (listing, add, remove, run):
        evaluating.add_common(command)
    return parser


def main(argv: list[str] | None = None) -> int:
    """
    Do one command and print what came of it.

    Returns:
        0 done, 1 refused or a canary failed; argparse exits with 2 on wrong usage.
    """
    parser = _parser()
    args = evaluating.parse(parser, argv)
    if args.do is _add:
        _check_add(parser, args)
    return evaluating.run(TOOL, args, args.do)


def _check_add(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.from_production is None:
        if args.line is not None or args.as_is:
            parser.error("--line and --as-is are for --from-production")
        if not args.id or args.prompt is None or args.expected is None:
            parser.error("add needs --id, --prompt and --expected, or --from-production FILE")
    elif args.prompt is not None or args.system is not None:
        parser.error("--from-production takes the prompt from the record")
    elif args.as_is and args.expected is not None:
        parser.error("--as-is takes the record's answer, --expected another: choose one")
    elif args.line is not None and args.line < 1:
        parser.error("--line must be >= 1")


# -- the file ---------------------------------------------------------------------


def _path(layout: Layout) -> Path:
    return (layout.benchmarks / f"{CANARIES}.jsonl").resolve()


@contextmanager
def _locked(layout: Layout) -> Iterator[Path]:
    """
    Be the only one that changes the list.
    """
    layout.models.mkdir(parents=True, exist_ok=True)
    layout.benchmarks.mkdir(parents=True, exist_ok=True)
    with held(layout.models / ".canaries.lock", wait_seconds=WAIT_SECONDS):
        yield _path(layout)


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

    config = load_config(layout.config)
    try:
        renderer = Renderer.load(
            find_base(layout, config.model.base),
            max_length=config.data.max_length,
            enable_thinking=config.model.enable_thinking,
        )
    except BaseModelMissing:
        evaluating.complain(TOOL, f"not tried on {config.model.base!r}, which is not here")
        return
    if (problem := renderable(PickedSuite(suite), renderer).problem) is not None:
        raise SuiteError(Path(suite.title), None, problem)


# -- commands ---------------------------------------------------------------------


def _list(layout: Layout, args: argparse.Namespace) -> int:
    path = _path(layout)
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
        return 0
    width = max((len(printable(q.id)) for q in questions), default=0)
    for q in questions:
        print(f"{printable(q.id):{width}}  {q.scorer.name:10}  {shorten(q.prompt, 80)}")
    if not questions:
        print(f"no canaries yet: {evaluating.shown(path)} is not there; tools/canary.py add")
    return 0


def _add(layout: Layout, args: argparse.Namespace) -> int:
    row = own_row(args) if args.from_production is None else production_row(args)
    with _locked(layout) as path:
        before = _read(path)
        _refuse_double(path, row)
        if before and not before.endswith(b"\n"):
            before += b"\n"
        suite = _replace(layout, path, before + orjson.dumps(row) + b"\n")
    if args.json:
        print(orjson.dumps({"added": row, "n_canaries": len(suite.questions)}).decode())
    else:
        print(
            f"{printable(row['id'])} was added to {evaluating.shown(path)},"
            f" which has {count(len(suite.questions), 'canary', 'canaries')} now"
        )
    return 0


def _refuse_double(path: Path, row: dict[str, Any]) -> None:
    if not path.exists():
        return
    hashed = prompt_hash(to_example({"messages": answered(row["messages"])}))
    for question in load_suite(path).questions:
        if question.id == row["id"]:
            raise RegistryError(f"there is a canary {row['id']!r} already; nothing was changed")
        if prompt_hash(question.example) == hashed:
            raise RegistryError(f"canary {question.id!r} asks the same; nothing was changed")


def _remove(layout: Layout, args: argparse.Namespace) -> int:
    confirm = args.confirm
    if confirm is None and sys.stdin.isatty():
        print(f"type {printable(args.id)} to confirm: ", end="", file=sys.stderr, flush=True)
        confirm = sys.stdin.readline().strip()
    with _locked(layout) as path:
        lines = _read(path).split(b"\n")
        places = [i for i, line in enumerate(lines) if line.strip() and _id(line, i) == args.id]
        if not places:
            raise RegistryError(f"there is no canary {args.id!r} in {evaluating.shown(path)}")
        if confirm != args.id:
            raise RegistryError(f"add --confirm {args.id}; nothing was changed")
        if sum(bool(line.strip()) for line in lines) == 1:
            raise RegistryError(
                f"{args.id!r} is the last one: the gate asks for a list that is not empty;"
                f" delete {evaluating.shown(path)} yourself if there are to be no canaries"
            )
        suite = _replace(layout, path, b"\n".join(lines[: places[0]] + lines[places[0] + 1 :]))
    if args.json:
        print(orjson.dumps({"removed": args.id, "n_canaries": len(suite.questions)}).decode())
    else:
        left = count(len(suite.questions), "canary", "canaries")
        print(f"{printable(args.id)} was removed; {left} left")
    return 0


def _id(line: bytes, place: int) -> str | None:
    """Return the id of a line as load_suite() gives it; None for a line that is no item."""
    try:
        row = parse_line(line)
    except MalformedExample:
        return None
    found = row.get("id", str(place + 1)) if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def _run(layout: Layout, args: argparse.Namespace) -> int:
    from test_runner import examine, table

    from finetuned.evaluation.by_hand.examine import find_model, pick_suites

    config = load_config(layout.config)
    model = find_model(layout, args.model, config.model.base)
    suites = pick_suites(layout, [str(_path(layout))], None)
    document = examine(layout, config, model, suites, fresh=args.fresh)
    failures = [i for i in document["items"] if not i["outcomes"]["model"]["correct"]]
    if args.json:
        print(orjson.dumps({**document, "failures": [i["id"] for i in failures]}).decode())
    else:
        for item in failures:
            outcome = item["outcomes"]["model"]
            print(f"{printable(item['id'])}{'  timed out' if outcome['timed_out'] else ''}")
            print(f"  asked     {shorten(item['prompt'], 160)}")
            print(f"  expected  {shorten(item['golden'] or '', 160)}")
            print(f"  answered  {shorten(outcome['answer'] or '', 160)}")
        print(("\n" if failures else "") + table(document))
    for suite in document["suites"]:
        if suite["problem"] is not None:
            evaluating.complain(TOOL, suite["problem"])
    return 0 if document["complete"] and not failures else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head ends it quietly
    sys.exit(main())
