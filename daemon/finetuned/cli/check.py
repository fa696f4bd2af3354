"""
``finetuned check``: what would become of a file, before it is dropped.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.root import default_root
from finetuned.cli.session import DONE, INTERRUPTED, REFUSED
from finetuned.cli.terminal import byte_bar, complain
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.core.text import printable
from finetuned.errors import EXIT_CONFIG
from finetuned.layout import Layout

if TYPE_CHECKING:
    from rich.console import Console

    from finetuned.cli.check_text import Circumstances, Piece
    from finetuned.config import Config
    from finetuned.data.render import Renderer
    from finetuned.ingestion.check import Checked

DETAILS = """examples:
  finetuned check rows.jsonl                     what the daemon of the root would do with it
  finetuned check rows.jsonl --base Qwen3-0.6B   as another base model would read it
  finetuned check rows.jsonl --show 0            without rows
  finetuned check rows.jsonl --line 120          line 120, or why it is rejected
  finetuned check rows.jsonl --json | jq .verdict

The file is read as the daemon reads it: with the settings, the base model, the earlier files and
the suites of the root; without a root, with the defaults. Nothing is written. What is trained is
shown in colour, or between marks if there is no colour.

exit status: 0 every row would be used, 1 some rows would be rejected or left out, or the whole
file set aside, or it cannot be read, 2 wrong usage, 78 the configuration or the base model cannot
be used
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("file", metavar="FILE", type=named_file, help="the file; it is only read")
    parser.add_argument(
        "--base", metavar="NAME", help="as model.base names it (default: the configured)"
    )
    parser.add_argument(
        "--show",
        metavar="N",
        type=int,
        help="first rows to show as the model will see them (default 3; with --line 0)",
    )
    parser.add_argument(
        "--line",
        metavar="LINE",
        type=int,
        action="append",
        default=[],
        help="a line to show as well, or why it is rejected; can be given again",
    )


def _settings(layout: Layout | None) -> Config:
    from finetuned.config import Config, load_sections

    if layout is None:
        return Config()
    config, mistakes = load_sections(layout.config, ("model", "data"))
    for mistake in mistakes:
        complain("check", f"{mistake} (not needed here, but the daemon will refuse it)")
    return config


def _check(path: Path, layout: Layout | None, args: argparse.Namespace) -> int:
    from finetuned.cli.check_text import Circumstances
    from finetuned.data.render import Renderer
    from finetuned.data.training_sequence import length_limit
    from finetuned.files.base_model import find_base, position_limit
    from finetuned.ingestion.check import Known, check

    config = _settings(layout)
    name = args.base or config.model.base
    base = find_base(layout or Layout(Path.cwd()), name)
    max_length, limited_by = length_limit(config.data.max_length, position_limit(base))
    renderer = Renderer.load(
        base,
        max_length=max_length,
        limited_by=limited_by,
        enable_thinking=config.model.enable_thinking,
    )
    known = Known() if layout is None else Known.load(layout.datasets, layout.benchmarks)
    with byte_bar(path.stat().st_size, path.name) as progress:
        checked = check(
            path.resolve(),
            renderer,
            config.data,
            known,
            n_shown=args.show,
            lines=frozenset(args.line),
            tick=lambda _phase, _rows, n_bytes: progress.reach(n_bytes),
        )
    root = None if layout is None else layout.root
    about = Circumstances(path, name, root, max_length, limited_by)
    if args.json:
        _print_json(checked, about, renderer)
    else:
        _print(checked, about, renderer, args.line)
    return DONE if checked.every_row_is_used else REFUSED


def _print(
    checked: Checked, about: Circumstances, renderer: Renderer, lines: Sequence[int]
) -> None:
    from rich.console import Console

    from finetuned.cli.check_text import asked, rejected, table, verdict
    from finetuned.data.file_shape import FileShape

    # The terminal wraps what is longer than it is wide, so that it can be copied as one line.
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    good = checked.every_row_is_used
    console.print(printable(verdict(checked, about)), style="bold green" if good else "bold yellow")
    if checked.shape is not FileShape.LINES:
        return
    console.print("\n".join(table(checked, about)))
    if about.path.suffix.lower() != ".jsonl":
        command = f"finetuned convert {shlex.quote(str(about.path))}"
        console.print(f"  the daemon reads only names that end in .jsonl: rename it, or {command}")
    if reasons := rejected(checked):
        console.print("\n".join(["", "rejected", *reasons]))
    if checked.shown:
        _print_rows(console, checked, renderer)
    for text in asked(checked, lines):
        console.print(text)


def _print_rows(console: Console, checked: Checked, renderer: Renderer) -> None:
    from rich.text import Text

    from finetuned.cli.check_text import PLAIN_TRAINED, TRAINED, Piece, marked, shortened

    coloured = console.color_system is not None and not console.no_color
    marks = TRAINED if _can_print(TRAINED) else PLAIN_TRAINED
    how = "in green" if coloured else f"between {marks[0]} and {marks[1]}"
    console.print(f"\nrows as the model sees them; what it learns to write is {how}")
    for row in checked.shown:
        for i, sequence in enumerate(row.sequences, start=1):
            part = f", part {i} of {len(row.sequences)}" if len(row.sequences) > 1 else ""
            n, n_trained = len(sequence.input_ids), sum(sequence.supervised)
            console.print(f"\nline {row.line}{part}: {n} tokens, {n_trained} trained", style="bold")
            pieces = [
                Piece(shortened(piece.text), piece.trained)
                for piece in _pieces(sequence.input_ids, sequence.supervised, renderer)
            ]
            if coloured:
                styled = ((p.text, "green" if p.trained else "") for p in pieces)
                console.print(Text.assemble(*styled))
            else:
                console.print(marked(pieces, marks))


def _pieces(ids: list[int], supervised: list[bool], renderer: Renderer) -> list[Piece]:
    """Return a sequence as the text of its stretches of tokens that are trained, or are not."""
    from itertools import groupby

    from finetuned.cli.check_text import Piece

    pairs = zip(ids, supervised, strict=True)
    return [
        Piece(renderer.decode([i for i, _ in group]), trained)
        for trained, group in groupby(pairs, key=lambda pair: pair[1])
    ]


def _can_print(texts: tuple[str, ...]) -> bool:
    try:
        "".join(texts).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _print_json(checked: Checked, about: Circumstances, renderer: Renderer) -> None:
    from dataclasses import asdict

    import orjson

    from finetuned.cli.check_text import TO_DO, used, verdict
    from finetuned.data.file_shape import FileShape

    lines = checked.shape is FileShape.LINES
    document = {
        "file": str(about.path),
        "verdict": checked.outcome,
        "sentence": verdict(checked, about),
        "reason": checked.reason,
        "shape": checked.shape.name.lower(),
        "root": None if about.root is None else str(about.root),
        "base": about.base,
        "max_length": {"tokens": about.max_length, "limit": about.limited_by},
        "rows": used(checked) if lines else None,
        "report": checked.report.as_dict() if lines else None,
        "rejected": {
            code: {**asdict(kind), "to_do": TO_DO.get(code)}
            for code, kind in checked.rejected.items()
        },
        "longest": None
        if checked.longest is None
        else dict(zip(("tokens", "line"), checked.longest, strict=True)),
        "repeats": asdict(checked.repeats),
        "seen": asdict(checked.seen),
        "shown": [
            {
                "line": row.line,
                "sequences": [
                    [asdict(p) for p in _pieces(s.input_ids, s.supervised, renderer)]
                    for s in row.sequences
                ],
            }
            for row in checked.shown
        ],
        "asked": [asdict(rejected) for rejected in checked.asked],
    }
    print(orjson.dumps(document).decode())


def _run(args: argparse.Namespace) -> int:
    from finetuned.errors import BaseModelMissing, ConfigError, FinetunedError
    from finetuned.ingestion.source import SourceUnreadable

    path: Path = args.file
    if not path.is_file():
        raise UsageError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    if args.show is None:
        args.show = 0 if args.line else 3
    if min(args.line, default=1) < 1:
        raise UsageError(f"--line must be at least 1, got {min(args.line)}")
    if args.show < 0:
        raise UsageError(f"--show must be at least 0, got {args.show}")
    root: Path | None = args.root or default_root()
    if root is not None and not root.is_dir():
        raise UsageError(f"--root {root} is not a directory")
    try:
        return _check(path, None if root is None else Layout(root.resolve()), args)
    except (FinetunedError, SourceUnreadable, OSError) as error:
        if args.json:
            import orjson

            print(orjson.dumps({"error": printable(str(error))}).decode())
        complain("check", str(error))
        return EXIT_CONFIG if isinstance(error, ConfigError | BaseModelMissing) else REFUSED
    except KeyboardInterrupt:
        complain("check", "interrupted")
        return INTERRUPTED


VERB = Verb(
    name="check",
    summary="Say what would become of a file before it is dropped; nothing is written.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
