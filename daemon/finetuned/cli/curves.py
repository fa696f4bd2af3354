"""
``finetuned curves``: what the learning curves of a job show, and what to change next.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import complain, shown
from finetuned.cli.verb import UsageError, Verb, add_common, named_file
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.files.job_curves import JobRecord
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned curves                          the last job, also while it is trained
  finetuned curves --job j000012            a certain job
  finetuned curves --version v0007          the job that made a version
  finetuned curves --last 10                ten jobs, a line each
  finetuned curves --html curves.html       the page with the plots, one file
  finetuned curves --training-log models/runs/r000031
  finetuned curves --training-log logs/supervisor.log    every job that a log names

A finding is shown with the p-value of its test; what no test shows is not said. A training log
may also be a metrics.jsonl, a trainer_state.json, or output of transformers.

exit status: 0 shown, 1 nothing to show, 2 wrong usage
"""


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of jobs, 1 or more")
    return int(text)


def _configure(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--job", metavar="ID", help="one job (default: the last)")
    which.add_argument("--version", metavar="ID", help="the job that made this version")
    which.add_argument("--last", type=_positive, metavar="N", help="the last N jobs")
    which.add_argument(
        "--training-log", type=named_file, metavar="FILE", help="a log, or the folder of a run"
    )
    add_common(parser)
    parser.add_argument("--html", type=named_file, metavar="FILE", help="write the page there")


def _records(layout: Layout, args: argparse.Namespace) -> tuple[list[JobRecord], int]:
    """Return the jobs that are meant, and how many lines of a log could not be read."""
    from finetuned.files.job_curves import chosen_jobs, job_record
    from finetuned.files.journal_view import JournalView
    from finetuned.files.training_log import read_log

    named: list[str | None] = [args.job]
    unread = 0
    if args.training_log is not None:
        log = read_log(args.training_log)
        if log.record is not None:
            return [log.record], log.unread_lines
        named, unread = list(log.jobs), log.unread_lines
    if not layout.journal.is_file():
        raise DatasetError(f"{layout.root} has no journal yet: nothing was trained here")
    journal = JournalView(layout.journal)
    try:
        jobs = [
            job
            for name in named
            for job in chosen_jobs(journal, job=name, version=args.version, last=args.last or 1)
        ]
        return [job_record(layout, journal, job) for job in jobs], unread
    finally:
        journal.close()


def _curves(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.curves_text import as_json, as_text
    from finetuned.core.curves.reading import read

    records, unread = _records(layout, args)
    if not records:
        raise DatasetError("no job was trained yet: drop a file into inbox/")
    read_jobs = [(record, read(record.curves)) for record in records]
    page: Path | None = args.html
    if page is not None:
        from finetuned.files.atomic import write_atomic
        from finetuned.reports.curves_page import curves_page

        write_atomic(page, curves_page(read_jobs).encode())
    if args.json:
        import orjson

        print(orjson.dumps(as_json(read_jobs, unread)).decode())
    else:
        print(as_text(read_jobs, many=args.last is not None and args.last > 1))
        if page is not None:
            print(f"page: {shown(page)}")
    if unread:
        complain("curves", f"{unread} unreadable lines of the log were left out")
    return DONE if any(len(r.curves.loss) or len(r.curves.held_out) for r in records) else REFUSED


def _run(args: argparse.Namespace) -> int:
    if args.training_log is not None and not args.training_log.exists():
        raise UsageError(f"{args.training_log}: there is no such log")
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.curves_text
    import finetuned.files.training_log
    import finetuned.reports.curves_page  # noqa: F401

    return on_root(args, _curves)


VERB = Verb(
    name="curves",
    summary="Say what the learning curves of a job show, and what to change next.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
