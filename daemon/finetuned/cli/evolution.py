"""
``finetuned evolution``: how the answer to one question grew right over a lineage, or was lost.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.cli.session import DONE, on_root
from finetuned.cli.terminal import shown
from finetuned.cli.verb import Verb, add_common, named_file
from finetuned.errors import DatasetError

if TYPE_CHECKING:
    from finetuned.files.evolution import Example
    from finetuned.layout import Layout

DETAILS = """examples:
  finetuned evolution                          every question that was asked, lost ones first
  finetuned evolution c32b9b5c25b8f845:116     the life of one answer
  finetuned evolution "create the user jdoe"   the same, by part of its prompt
  finetuned evolution --version v0007          of the lineage that ends with this version
  finetuned evolution --html evolution.html    the page, one file

Answers come from the live evals of each training, which ask the first held-out rows again
at steps 10, 25, 50, 100 ... of the job, and from the eval reports of its versions. No model is
asked for it.

exit status: 0 shown, 1 no such question, or none was asked, 2 wrong usage
"""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "example", nargs="?", metavar="EXAMPLE", help="id of a question, or part of its prompt"
    )
    parser.add_argument("--version", metavar="ID", help="last of the lineage (default: the head)")
    add_common(parser)
    parser.add_argument("--html", type=named_file, metavar="FILE", help="write the page there")


def chosen(examples: dict[str, Example], wanted: str | None) -> list[Example]:
    """
    Return the examples that are meant: one by its id, or those whose prompt has the words.

    Raises:
        DatasetError: There is none.
    """
    if wanted is None:
        return list(examples.values())
    if wanted in examples:
        return [examples[wanted]]
    found = [e for e in examples.values() if wanted.casefold() in (e.prompt or "").casefold()]
    if not found:
        raise DatasetError(
            f"no question that this lineage was asked has the id {wanted!r}, or these words in "
            "its prompt; finetuned evolution lists them"
        )
    return found


def _evolution(layout: Layout, args: argparse.Namespace) -> int:
    from finetuned.cli.evolution_text import as_json, as_list, as_text
    from finetuned.files.evolution import evolution
    from finetuned.files.journal_view import JournalView

    if not layout.journal.is_file():
        raise DatasetError(f"{layout.root} has no journal yet: nothing was trained here")
    journal = JournalView(layout.journal)
    try:
        if args.version is not None and args.version not in journal.versions.parents():
            raise DatasetError(f"there is no version {args.version}")
        examples = evolution(layout, journal, args.version)
    finally:
        journal.close()
    if not examples:
        raise DatasetError("no question was asked yet: no training had held-out rows")
    found = chosen(examples, args.example)
    page: Path | None = args.html
    if page is not None:
        from finetuned.files.atomic import write_atomic
        from finetuned.reports.evolution_page import evolution_page

        write_atomic(page, evolution_page(found).encode())
    if args.json:
        import orjson

        print(orjson.dumps(as_json(found)).decode())
    else:
        print(as_text(found[0]) if len(found) == 1 else as_list(found))
        if page is not None:
            print(f"page: {shown(page)}")
    return DONE


def _run(args: argparse.Namespace) -> int:
    # Before on_root(): the root's owner may not be allowed to read the code.
    import finetuned.cli.evolution_text
    import finetuned.files.evolution
    import finetuned.reports.evolution_page  # noqa: F401

    return on_root(args, _evolution)


VERB = Verb(
    name="evolution",
    summary="Show how the answer to a question grew right over training, and when it was lost.",
    details=DETAILS,
    configure=_configure,
    run=_run,
)
