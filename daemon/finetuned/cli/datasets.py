"""
``finetuned datasets``: what became of every file that was dropped, and of its rows.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from finetuned.cli.root import default_root
from finetuned.cli.session import DONE, REFUSED, on_root
from finetuned.cli.terminal import program
from finetuned.cli.verb import UsageError, Verb, add_common
from finetuned.core.books import Fate
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.cli.dataset_lines import Command
    from finetuned.core.books import Books
    from finetuned.files.journal import Journal
    from finetuned.files.rows import JobRow
    from finetuned.files.tables.books import Entry
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned datasets                   every file that was dropped, one line each
  finetuned datasets --unlearnt        files with rows that were not learnt, and why
  finetuned datasets --refused         files with rows that cannot be used, and why
  finetuned datasets --waiting         files that are not trained or judged yet
  finetuned datasets my_rows.jsonl     all that is known of one file
  finetuned datasets d00000012         the same, by its key
  finetuned datasets --json | jq -r '.datasets[] | select(.fate == "refused").name'

A row counts as learnt if the head, the version that the next job starts from, or one that
the head was trained on top of, was trained on it. Rows that no optimizer step had, because the
training stopped early, are not learnt. The sum over all words is what was dropped.

exit status: 0 done, 1 no such file, or the rows do not add up, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    add_common(parser)
    parser.add_argument("file", nargs="?", metavar="KEY_OR_NAME", help="one file (default: all)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unlearnt", action="store_true", help="files with unlearnt rows")
    which.add_argument("--refused", action="store_true", help="files with refused rows")
    which.add_argument("--waiting", action="store_true", help="files that wait")


def spelled(args: argparse.Namespace) -> Command:
    """
    Return how a person types a command for the root of *args*: with --root only if it is needed.
    """
    default = default_root()
    known = default is not None and default.resolve() == args.root.resolve()
    where = "" if known else f" --root {shlex.quote(str(args.root))}"
    return lambda words: f"{program()} {words}{where}"


def _wanted(entries: list[Entry], layout: Layout, args: argparse.Namespace) -> list[Entry]:
    if args.file is not None:
        entries = [e for e in entries if args.file in (e.dataset.key, e.dataset.name)]
        if not entries:
            raise DatasetError(_not_dropped(layout, args.file))
    if args.unlearnt:
        return [entry for entry in entries if entry.has_unlearnt_rows]
    if args.waiting:
        return [entry for entry in entries if entry.fate is Fate.WAITING]
    if args.refused:
        return [entry for entry in entries if _has_refused_rows(entry)]
    return entries


def _has_refused_rows(entry: Entry) -> bool:
    counts = entry.dataset.counts
    some = counts is not None and counts.refused > 0
    return entry.fate is Fate.REFUSED or (some and entry.fate is not Fate.DUPLICATE)


def _not_dropped(layout: Layout, name: str) -> str:
    """Return why nothing is known of a file: it still lies in inbox/, or it never did."""
    from finetuned.files.inbox import scan
    from finetuned.files.inbox_names import escape_name

    for found in scan(layout) if layout.inbox.is_dir() else ():
        path = escape_name(found.path)
        if name in (path, f"inbox/{path}", path.rpartition("/")[2]):
            return f"inbox/{path}: {found.problem or 'not read yet; finetuned status says why'}"
    return f"{name} is neither the key nor the name of a dropped file"


def _print(journal: Journal, layout: Layout, args: argparse.Namespace) -> int:
    import orjson

    from finetuned.cli.dataset_lines import entry_json

    with journal.together():  # one picture, though the daemon goes on
        entries = journal.books.entries(journal.head_lineage())
        books = journal.books.balance(journal.head_lineage)
        wanted = _wanted(entries, layout, args)
        jobs = [journal.jobs.of_dataset(e.dataset.key) for e in wanted] if args.file else []
    if args.json:
        files = [entry_json(entry) for entry in wanted]
        print(orjson.dumps({"books": books.as_dict(), "datasets": files}).decode())
    elif args.file:
        _print_files(layout, args, entries, list(zip(wanted, jobs, strict=True)))
    else:
        _print_list(layout, args, wanted, books)
    return DONE if books.balanced else REFUSED


def _print_files(
    layout: Layout,
    args: argparse.Namespace,
    entries: list[Entry],
    wanted: list[tuple[Entry, list[JobRow]]],
) -> None:
    from finetuned.cli.dataset_lines import all_of, later_rows_of
    from finetuned.files.dataset_result import report_of

    for entry, jobs in wanted:
        report, later = report_of(layout, entry.dataset), later_rows_of(entry, entries)
        print("\n".join(all_of(entry, jobs, spelled(args), report, later)))


def _print_list(
    layout: Layout, args: argparse.Namespace, wanted: list[Entry], books: Books
) -> None:
    from finetuned.cli.dataset_lines import books_in_words, list_of
    from finetuned.files.dataset_result import report_of

    command = spelled(args)
    reports = {e.dataset.key: report_of(layout, e.dataset) for e in wanted if args.refused}
    lines = [*list_of(wanted, command, reports), books_in_words(books)]
    if args.unlearnt and not wanted:
        lines.insert(0, "every row that was meant for training is learnt or waits")
    if args.unlearnt and books.rows.refused:
        lines.append(f"what was refused, and why: {command('datasets --refused')}")
    print("\n".join(lines))


def _datasets(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.files.journal import Journal

    if not layout.journal.exists():
        raise DatasetError(f"nothing was dropped into {layout.inbox} yet: no daemon ever ran here")
    journal = Journal(layout.journal)
    try:
        return _print(journal, layout, args)
    finally:
        journal.close()


def _run(args: argparse.Namespace) -> int:
    if args.file is not None and (args.unlearnt or args.refused or args.waiting):
        raise UsageError("a file is shown whatever became of it: leave the options out")
    # Before on_root(): the root's owner may not be allowed to read the code.
    from finetuned.cli import dataset_lines  # noqa: F401
    from finetuned.files import inbox, journal  # noqa: F401

    return on_root(args, _datasets)


VERB = Verb(
    name="datasets",
    summary="Show what became of every dropped file, and which version learnt its rows.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
