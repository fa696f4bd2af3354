"""
``finetuned convert``: a file of another shape, written beside as JSON lines.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.root import become_owner
from finetuned.cli.session import DONE, INTERRUPTED, REFUSED
from finetuned.cli.terminal import byte_bar, complain, shown
from finetuned.cli.verb import UsageError, Verb, add_json, named_file
from finetuned.core.text import printable
from finetuned.layout import Priority

if TYPE_CHECKING:
    from finetuned.sources.conversion import Conversion

DETAILS = """examples:
  finetuned convert export.json                   makes export.jsonl beside it
  finetuned convert rows.csv -o inbox/may.jsonl   into an inbox: it appears there whole

Read are one JSON array, JSON objects in any layout, CSV and TSV (the first line names the columns:
prompt and completion, instruction and output, messages, text ...), Parquet, UTF-16 and UTF-32,
each also compressed with gzip, bzip2 or xz, whatever the file is called. Nothing is changed in a
value: cells of a table stay text. The original stays as it is, and no file is ever overwritten.
finetuned check says whether the rows can be trained.

exit status: 0 every row is in the new file, 1 rows are refused, or nothing was written, 2 wrong
usage
"""

SHOWN = 20
"""Refused rows that are shown."""

INBOX = ("inbox", *Priority)
"""Folders from which the daemon takes the new file at once, so that there is no next step."""

_ENDS = (
    *(".gz", ".bz2", ".xz", ".json", ".jsonl", ".ndjson", ".jsonlines"),
    *(".txt", ".csv", ".tsv", ".parquet", ".sql", ".yml", ".yaml"),
)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=named_file, help="the file; it is only read")
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT.jsonl",
        type=named_file,
        help="the new file, which must not exist (default: beside FILE, ending in .jsonl)",
    )
    add_json(parser)


def target_of(source: Path) -> Path:
    """
    Return where the rows of *source* go if nobody says: beside it, under another name.
    """
    stem = bare_name(source)
    target = source.with_name(f"{stem}.jsonl")
    return target if target != source else source.with_name(f"{stem}.converted.jsonl")


def bare_name(source: Path) -> str:
    """
    Return the name of *source* without the ends that say how it is written.
    """
    stem = source.name
    while stem.lower().endswith(_ENDS):
        stem = stem[: stem.rindex(".")]
    return stem or "rows"


def _summary(result: Conversion) -> list[str]:
    """Return what a person reads of a conversion."""
    from finetuned.data.file_shape import FileShape

    lines = [f"{result.source.name}: {', '.join((result.shape, *result.wrapped))}"]
    if result.target is None:
        lines.append(f"none of its {result.rows_in} rows can be used, so nothing was written")
    else:
        count = "all" if not result.rows_refused else f"{result.rows_out} of"
        lines.append(f"{count} {result.rows_in} rows are now in {shown(result.target)}")
    if result.rows_refused:
        word = "row" if result.shape is FileShape.PARQUET else "line"
        lines.append(f"{result.rows_refused} refused:")
        lines += [f"  {word} {row.place}: {row.reason}" for row in result.refused[:SHOWN]]
        if (more := result.rows_refused - SHOWN) > 0:
            lines.append(f"  and {more} more")
    if result.target is not None and result.target.resolve().parent.name not in INBOX:
        lines.append(f"next: finetuned check {shlex.quote(shown(result.target))}")
    return lines


def _as_json(result: Conversion) -> dict[str, object]:
    return {
        "file": str(result.source),
        "shape": result.shape.name.lower(),
        "wrapped": [shape.name.lower() for shape in result.wrapped],
        "output": None if result.target is None else str(result.target),
        "rows_in": result.rows_in,
        "rows_out": result.rows_out,
        "rows_refused": result.rows_refused,
        "refused": [{"place": row.place, "reason": row.reason} for row in result.refused],
    }


def _convert(source: Path, target: Path, *, as_json: bool) -> int:
    from finetuned.config import DataConfig
    from finetuned.sources.conversion import convert

    with byte_bar(source.stat().st_size, source.name) as progress:
        result = convert(
            source, target, max_bytes=DataConfig().max_line_bytes, on_progress=progress.reach
        )
    if as_json:
        import orjson

        print(orjson.dumps(_as_json(result)).decode())
    else:
        print("\n".join(map(printable, _summary(result))))
    return DONE if result.rows_out and not result.rows_refused else REFUSED


def _already_lines(source: Path) -> bool:
    """Return whether the daemon reads *source* as it is."""
    from finetuned.data.file_shape import HEAD_BYTES, FileShape, recognise

    with source.open("rb") as f:
        head = f.read(HEAD_BYTES + 1)
    shape = recognise(head[:HEAD_BYTES], whole=len(head) <= HEAD_BYTES)
    return shape is FileShape.LINES and source.name.lower().endswith(".jsonl")


def _run(args: argparse.Namespace) -> int:
    import finetuned.sources.conversion  # noqa: F401 - before become_owner: see cli.session
    from finetuned.errors import FinetunedError

    source: Path = args.file
    if not source.is_file():
        raise UsageError(f"{source}: {'not a file' if source.exists() else 'no such file'}")
    target: Path = args.output or target_of(source)
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is not a folder")
    if not os.path.basename(target).endswith(".jsonl"):
        raise UsageError(f"the new file must end in .jsonl, as the daemon reads no other: {target}")
    try:
        if args.output is None and _already_lines(source):
            complain("convert", f"{source} is JSON lines already; there is nothing to convert")
            return DONE
        become_owner(target.parent)
        return _convert(source, target, as_json=args.json)
    except (FinetunedError, OSError) as error:
        if args.json:
            import orjson

            print(orjson.dumps({"error": printable(str(error))}).decode())
        complain(
            "convert", f"{source}: {error}" if isinstance(error, FinetunedError) else str(error)
        )
        return REFUSED
    except KeyboardInterrupt:
        complain("convert", "interrupted; nothing was written")
        return INTERRUPTED


VERB = Verb(
    name="convert",
    summary="Make JSON lines of a JSON array, a table, a Parquet or a compressed file.",
    details=DETAILS,
    configure=_configure,
    run=_run,
    needs_root=False,
)
