"""
``finetuned corrections``: trained rows that the model still answers wrong, as new rows.
"""

from __future__ import annotations

import argparse
import math
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.terminal import bar, complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetuned.files.learnt_file import LearntFile
    from finetuned.layout import Layout
    from finetuned.sources.correction import Collected

DETAILS = """examples:
  finetuned corrections                        what the head answers wrong, and how; writes nothing
  finetuned corrections -o corrections.jsonl   ... with three rows for each wrong answer
  finetuned corrections d00000012 --drop       of one file, straight into the inbox
  finetuned corrections --max 60 --max-minutes 5 --drop

Rows that were trained are drawn from the files that the head has learnt, asked, and marked as
held-out rows are. Held-out rows, and what a suite asks, are never asked; nor are corrections. Each
wrong answer is named by codes (LENGTH_SHORT_BY_3_TOKENS, MISSING_NUMBERS, ...) and becomes: the
question with the attempt and a hint, the question with the hint, and the question as it is. The
same seed draws the same rows.

exit status: 0 asked (also if nothing was wrong), 1 it could not be, 2 wrong usage
"""

LEAST = 3
"""Rows of one wrong answer."""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument(
        "keys",
        nargs="*",
        metavar="KEY",
        help="a learnt file, as finetuned datasets shows it (default: all)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o",
        "--output",
        metavar="OUT.jsonl",
        type=named_file,
        help="a file that does not exist yet",
    )
    where.add_argument("--drop", action="store_true", help="put the rows into the inbox")
    parser.add_argument("--model", metavar="VERSION", help="which version is asked (default: head)")
    parser.add_argument(
        "--max", type=int, default=200, metavar="N", help="rows at most, 3 or more (default 200)"
    )
    parser.add_argument(
        "--max-minutes", type=float, default=30.0, metavar="M", help="then stop (default 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one draws other rows")


def _files(
    layout: Layout, keys: Sequence[str], version: str | None
) -> tuple[str, list[LearntFile]]:
    """Return the version to ask and the files to draw from."""
    from finetuned.core.line_set import LineSet
    from finetuned.files.journal_view import JournalView
    from finetuned.files.learnt_file import learnt_file

    if not layout.journal.exists():
        raise DatasetError(f"nothing was dropped into {layout.inbox} yet: no daemon ever ran here")
    with closing(JournalView(layout.journal)) as journal:
        asked = version or journal.heads.version()
        if asked is None:
            raise DatasetError("no version has learnt anything yet: finetuned status")
        entries = journal.books.entries(journal.versions.lineage(asked))
    learnt = {e.dataset.key: e for e in entries if e.learnt_by is not None}
    if unknown := [key for key in keys if key not in learnt]:
        raise DatasetError(
            f"{asked} has learnt no file {', '.join(unknown)}; "
            "finetuned datasets shows which it has"
        )
    found = []
    for key in keys or learnt:
        entry = learnt[key]
        unseen = LineSet() if entry.unseen is None else entry.unseen.lines
        if (file := learnt_file(layout, entry.dataset, unseen)) is None:
            complain("corrections", f"{key} ({entry.dataset.name}): its rows are gone; left out")
        else:
            found.append(file)
    if not found:
        raise DatasetError(f"no file that {asked} has learnt is there")
    return asked, found


def _of_its_adapter(layout: Layout, version: str, files: list[LearntFile]) -> list[LearntFile]:
    """
    Return the files that the version's own adapter has learnt; of others its families tell.

    Raises:
        DatasetError: There are none.
    """
    from finetuned.files.family_list import own_datasets

    if (own := own_datasets(layout.versions / version)) is None:
        return files
    kept = [file for file in files if file.dataset.name in own]
    for file in files:
        if file not in kept:
            complain("corrections", f"{file.name}: of another family than {version}'s; left out")
    if not kept:
        raise DatasetError(f"none of these files is of the family whose adapter {version} trained")
    return kept


def _collect(
    layout: Layout, args: argparse.Namespace, version: str, files: Sequence[LearntFile]
) -> Collected:
    from finetuned.config import load_config
    from finetuned.data.render import Renderer
    from finetuned.evaluation.corrections import collector
    from finetuned.evaluation.subjects import Models, Subject
    from finetuned.registry.named_model import find_model
    from finetuned.sources.augment import KeptOut
    from finetuned.sources.correction import trained_rows
    from finetuned.sources.correction.collect import ASKED_FOR_EACH

    config = load_config(layout.config)
    model = find_model(layout, version, config.model.base)
    kept_out = KeptOut.load(layout.datasets, layout.benchmarks)
    rows = trained_rows(
        files, ASKED_FOR_EACH * args.max, seed=args.seed, max_bytes=config.data.max_line_bytes
    )
    with bar(len(rows.rows)) as progress:
        progress.begin(f"{version} answers rows that it was trained on")
        return collector(
            Models(config.model).get(Subject(version, model.weights.base, model.weights.folder)),
            Renderer.load(
                model.weights.base,
                max_length=config.data.max_length,
                enable_thinking=config.model.enable_thinking,
            ),
            config.evaluation,
            name=version,
            kept_out=kept_out,
            max_examples=args.max,
            deadline=time.monotonic() + 60 * args.max_minutes,
            on_answered=progress.done,
        ).collect(rows)


def _written(
    layout: Layout, args: argparse.Namespace, version: str, found: Collected
) -> Path | None:
    """Write the rows where they were asked for, whole and in the place of no other file."""
    import hashlib

    from finetuned.files.drop import to_jsonl
    from finetuned.files.new_file import NewFile

    if not found.rows or not (args.output or args.drop):
        return None
    data = to_jsonl(found.rows)
    digest = hashlib.sha256(data).hexdigest()[:16]
    path: Path = args.output or layout.inbox / f"corrections-{version}-{digest}.jsonl"
    try:
        with NewFile(path.parent) as new:
            new.file.write(data)
            new.publish(path.name)
    except FileExistsError:
        raise DatasetError(f"{path} exists already, and no file is overwritten") from None
    return path


def summary(found: Collected, version: str, target: Path | None) -> list[str]:
    """
    Return what a person reads.
    """
    counts = found.counts
    asked = counts.right + counts.wrong
    lines = [f"{version} answers {counts.wrong} of {asked} trained rows wrong"]
    if counts.not_asked:
        why = ", ".join(f"{n} {reason}" for reason, n in counts.not_asked.most_common())
        lines.append(f"not asked: {why}")
    if counts.codes:
        lines.append("codes: " + ", ".join(f"{c} {n}" for c, n in counts.codes.most_common()))
    if counts.not_made:
        why = ", ".join(f"{n} {reason}" for reason, n in counts.not_made.most_common())
        lines.append(f"not made: {why}")
    if target is not None:
        lines.append(f"{len(found.rows)} rows are in {shown(target)}")
    elif found.rows:
        lines.append(f"{len(found.rows)} rows could be made: -o FILE or --drop")
    return lines


def _corrections(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.core.text import printable

    version, files = _files(layout, args.keys, args.model)
    files = _of_its_adapter(layout, version, files)
    found = _collect(layout, args, version, files)
    target = _written(layout, args, version, found)
    if args.json:
        said = {
            "version": version,
            "files": [file.name for file in files],
            "output": None if target is None else str(target),
            "rows": len(found.rows),
            **found.counts.as_dict(),
        }
        print(orjson.dumps(said).decode())
    else:
        print("\n".join(map(printable, summary(found, version, target))))
        if target is not None and not args.drop:
            print(f"next: finetuned check {shlex.quote(shown(target))}")
    return DONE


def _run(args: argparse.Namespace) -> int:
    if args.max < LEAST:
        raise UsageError(f"--max must be >= {LEAST}: each wrong answer becomes so many rows")
    if not (0 < args.max_minutes < math.inf):
        raise UsageError("--max-minutes must be above 0")
    output: Path | None = args.output
    if output is not None and not output.name.endswith(".jsonl"):
        raise UsageError(f"the new file must end in .jsonl, as the daemon reads no other: {output}")
    if output is not None and output.exists():
        raise UsageError(f"{output} exists already, and no file is overwritten: name another")
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.evaluation.corrections
    import finetuned.model.load  # noqa: F401

    return on_root(args, _corrections, interrupted="interrupted; nothing was written")


VERB = Verb(
    name="corrections",
    summary="Ask trained rows again, and make new rows of what is answered wrong.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
