"""
``finetuned retry``: queue the rows of files again that were not learnt.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import complain
from finetuned.cli.verb import UsageError, Verb, add_common
from finetuned.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from finetuned.files.journal import Journal
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned retry d00000012            train it again, on top of the head of today
  finetuned retry d00000012 d00000015  two; if one is refused, none is queued
  finetuned retry --all-unlearnt       every file that finetuned datasets --unlearnt lists

Each file becomes a job of its own, so that a bad one takes no other with it. A running daemon
begins within seconds; otherwise the next one does. A file that is learnt, or waits already,
is refused: no row is trained twice. Of a file of which no optimizer step had some rows, those
alone are trained.

exit status: 0 queued (or, with --all-unlearnt, nothing to queue), 1 a file was refused,
  2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("keys", nargs="*", metavar="KEY", help="as finetuned datasets shows it")
    parser.add_argument("--all-unlearnt", action="store_true", help="every file that can be")


def _check_folder(layout: Layout, journal: Journal, key: str) -> None:
    """Refuse a file whose validated rows are not on disk any more."""
    from finetuned.files.manifest import read_manifest

    row = journal.datasets.get(key)
    if row is None or row.dataset_id is None:
        return  # the journal says why it cannot be queued
    try:
        read_manifest(layout.datasets / row.dataset_id)
    except ModelError as error:
        raise DatasetError(
            f"{key} ({row.name}): its validated rows are gone ({error}); drop the original "
            f"again: {row.final_path or 'it is in inbox/processing/'}"
        ) from None


def _queue(layout: Layout, journal: Journal, keys: list[str]) -> dict[str, str]:
    """Queue *keys*, all or none, and log it; return their new jobs."""
    import structlog

    for key in keys:
        _check_folder(layout, journal, key)
    made = journal.retry(keys)
    log = structlog.get_logger()
    for key, job_id in made.items():
        log.info("dataset_queued_again", key=key, job_id=job_id)
    return made


def _queue_each(layout: Layout, journal: Journal) -> tuple[dict[str, str], list[str]]:
    """Queue every file that was not learnt; return the new jobs, and why others have none."""
    made: dict[str, str] = {}
    problems = []
    for entry in journal.books.entries(journal.head_lineage()):
        if entry.has_unlearnt_rows:
            try:
                made |= _queue(layout, journal, [entry.dataset.key])
            except DatasetError as error:
                problems.append(str(error))
    return made, problems


def _retry(layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.files.journal import Journal

    if not layout.journal.exists():
        raise DatasetError(f"nothing was dropped into {layout.inbox} yet: no daemon ever ran here")
    journal = Journal(layout.journal)
    problems: list[str] = []
    try:
        if args.all_unlearnt:
            made, problems = _queue_each(layout, journal)
        else:
            made = _queue(layout, journal, args.keys)
        names = {key: row.name for key in made if (row := journal.datasets.get(key))}
    finally:
        journal.close()
    if args.json:
        print(orjson.dumps({"jobs": made, "problems": problems}).decode())
    else:
        _say(layout, made, names)
    for problem in problems:
        complain("retry", problem)
    return REFUSED if problems else DONE


def _say(layout: Layout, made: dict[str, str], names: dict[str, str]) -> None:
    from finetuned.cli.live import look
    from finetuned.core.text import printable

    for key, job_id in made.items():
        print(f"{key} ({printable(names[key])}) is queued again as job {job_id}")
    if not made:
        print("no file can be queued again: see finetuned datasets")
    elif not look(layout)[1].state.alive:
        print("no daemon runs here; the next one begins with it: finetuned run")


def _run(args: argparse.Namespace) -> int:
    if bool(args.keys) == args.all_unlearnt:
        raise UsageError("name the files by their keys, or all of them with --all-unlearnt")
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.cli import live  # noqa: F401
    from finetuned.files import journal, manifest  # noqa: F401

    return on_root(args, _retry)


VERB = Verb(
    name="retry",
    summary="Queue the rows of files again that were not learnt.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
