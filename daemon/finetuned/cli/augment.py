"""
``finetuned augment``: a file written again with rows that were made of its rows.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.convert import INBOX
from finetuned.cli.root import become_owner, default_root
from finetuned.cli.session import DONE, INTERRUPTED, REFUSED
from finetuned.cli.terminal import complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.core.text import printable
from finetuned.layout import Layout

if TYPE_CHECKING:
    from finetuned.sources.augment.file import Augmented
    from finetuned.sources.augment.transform import Transform

DETAILS = """examples:
  finetuned augment rows.jsonl                           makes rows.2x.jsonl beside it
  finetuned augment rows.jsonl --times 3 -o inbox/may.jsonl
  finetuned augment rows.jsonl --only typos --only casing
  finetuned augment rows.jsonl --by http://127.0.0.1:8000/v1 --model qwen3   paraphrased by a model

Each row is written as it stands, and behind it the rows that were made of it. What must not change
is checked for each of them, and a row that fails is left out and counted. None says what a
held-out row, a suite or a canary of the root asks. Transforms: clues, tiles (SYLLO puzzles),
synonyms, phrasing, casing, typos, spacing, values; with --by also served. The key of the
service is read from OPENAI_API_KEY. The same seed makes the same rows, unless a model is asked.

exit status: 0 rows were made, 1 none was, or nothing was written, 2 wrong usage
"""

KEY_VARIABLE = "OPENAI_API_KEY"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("file", metavar="FILE", type=named_file, help="JSON lines; only read")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.jsonl",
        type=named_file,
        help="the new file, which must not exist (default: beside FILE, such as FILE.2x.jsonl)",
    )
    parser.add_argument(
        "--times",
        type=int,
        default=2,
        metavar="N",
        help="rows for each row, itself included (2 to 10; default 2)",
    )
    parser.add_argument(
        "--only",
        metavar="TRANSFORM",
        action="append",
        help="a transform to use, no other; can be given again (default: all)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another one makes other rows")
    parser.add_argument("--by", metavar="URL", help="where a model paraphrases, ending in /v1")
    parser.add_argument("--model", metavar="NAME", help="what it is called there")


def _transforms(args: argparse.Namespace) -> tuple[Transform, ...]:
    from finetuned.sources.augment import chosen
    from finetuned.sources.augment.served import NAME, Endpoint, served

    if (args.by is None) != (args.model is None):
        raise UsageError("--by and --model go together: where a model is, and what it is called")
    only: list[str] | None = args.only
    if args.by is None:
        if only and NAME in only:
            raise UsageError("--only served needs --by and --model")
        return _named(only)
    try:
        model = served(Endpoint(args.by, args.model, os.environ.get(KEY_VARIABLE, "")))
    except ValueError as error:
        raise UsageError(str(error)) from None
    if only is None:
        return (*chosen(None), model)
    others = _named([name for name in only if name != NAME])
    return (*others, model) if NAME in only else others


def _named(only: list[str] | None) -> tuple[Transform, ...]:
    from finetuned.sources.augment import chosen

    try:
        return chosen(only)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _summary(result: Augmented, source: Path, target: Path, root: Path | None) -> list[str]:
    """Return what a person reads."""
    counts = result.counts
    lines = [
        f"{counts.made} of {counts.wanted} rows were made of {counts.rows}; "
        f"{result.rows_written} rows are now in {shown(target)}"
    ]
    if counts.by_transform:
        lines.append("by " + ", ".join(f"{k} {n}" for k, n in counts.by_transform.most_common()))
    if counts.dropped:
        dropped = ", ".join(f"{n} {reason}" for reason, n in counts.dropped.most_common())
        lines.append(f"not made: {dropped}")
    if root is None:
        lines.append("no root: compared with no suite and no held-out row (--root DIR)")
    if target.resolve().parent.name not in INBOX:
        lines.append(f"next: finetuned check {shlex.quote(shown(target))}")
    return lines


def _augment(args: argparse.Namespace, source: Path, target: Path) -> int:
    from finetuned.config import DataConfig
    from finetuned.sources.augment import KeptOut
    from finetuned.sources.augment.file import augment

    root: Path | None = getattr(args, "root", None) or default_root()
    layout = None if root is None else Layout(root.resolve())
    result = augment(
        source,
        target,
        kept_out=KeptOut() if layout is None else KeptOut.load(layout.datasets, layout.benchmarks),
        transforms=_transforms(args),
        times=args.times,
        seed=args.seed,
        max_bytes=DataConfig().max_line_bytes,
    )
    if getattr(args, "json", False):
        import orjson

        said = {
            "file": str(source),
            "output": str(target),
            "root": None if root is None else str(root),
            "times": args.times,
            "seed": args.seed,
            "rows_written": result.rows_written,
            **result.counts.as_dict(),
        }
        print(orjson.dumps(said).decode())
    else:
        print("\n".join(map(printable, _summary(result, source, target, root))))
    return DONE if result.counts.made else REFUSED


def _run(args: argparse.Namespace) -> int:
    import finetuned.sources.augment.file  # noqa: F401 - before become_owner: see cli.session
    from finetuned.config.data import MOST_TIMES
    from finetuned.errors import FinetunedError

    source: Path = args.file
    if not source.is_file():
        raise UsageError(f"{source}: {'not a file' if source.exists() else 'no such file'}")
    if not 2 <= args.times <= MOST_TIMES:
        raise UsageError(f"--times must be 2 to {MOST_TIMES}, got {args.times}")
    stem = source.name.removesuffix(".jsonl")
    target: Path = args.output or source.with_name(f"{stem}.{args.times}x.jsonl")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is not a folder")
    if not target.name.endswith(".jsonl"):
        raise UsageError(f"the new file must end in .jsonl, as the daemon reads no other: {target}")
    _transforms(args)
    try:
        become_owner(target.parent)
        return _augment(args, source, target)
    except (FinetunedError, OSError) as error:
        said = str(error) if isinstance(error, FinetunedError) else f"{source}: {error}"
        if getattr(args, "json", False):
            import orjson

            print(orjson.dumps({"error": printable(said)}).decode())
        complain("augment", said)
        return REFUSED
    except KeyboardInterrupt:
        complain("augment", "interrupted; nothing was written")
        return INTERRUPTED


VERB = Verb(
    name="augment",
    summary="Make more rows of a file's rows, each checked against what must not change.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
