#!/usr/bin/env python3
"""
Make the page of a version's eval report: why it was promoted or rejected.

    $ tools/report.py v0004
    models/reports/v0004.html
    $ tools/report.py --all
    models/reports/v0002.html
    models/reports/v0003.html
    models/reports/v0004.html
    report: v0001 has an eval report of schema_version 1; pages are made from schema_version 2

The page is one file without any reference to another: it can be mailed, or opened from disk.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import signal
import sys
from pathlib import Path

import orjson

from finetuned.core.text import printable
from finetuned.errors import FinetunedError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.layout import Layout
from finetuned.registry.versions import incumbent, list_versions

EXAMPLES = """
examples:
  tools/report.py                          the version in use
  tools/report.py v0003                    a certain version, promoted or not
  tools/report.py v0003 --output v3.html   to a file of your choice
  tools/report.py --all                    every version

exit status: 0 done, 1 a page could not be made (nothing half-written), 2 wrong usage
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/report.py",
        description="Make the page of a version's eval report.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("version", nargs="?", help="default: the version in use")
    which.add_argument("--all", action="store_true", help="every version's page")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", default=_venv.CHECKOUT, help="default: the checkout"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="default: models/reports/<version>.html"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _chosen(layout: Layout, args: argparse.Namespace) -> list[str]:
    if args.all:
        return list_versions(layout)
    version = args.version or incumbent(layout)
    if version is None:
        raise RegistryError("no version is in use yet; name one")
    return [version]


def _shown(path: Path) -> str:
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _make(layout: Layout, version: str, output: Path | None) -> Path:
    # Late: matplotlib takes a second, and a wrong version name is known before it.
    from finetuned.reports.page import page_of, render_version

    if output is None:
        return render_version(layout, version)
    write_atomic(output, page_of(layout, version))
    return output


def main(argv: list[str] | None = None) -> int:
    """
    Make the pages and print where they are.

    Returns:
        0 done, 1 a page could not be made; argparse exits with 2 on wrong usage.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.root.is_dir():
        parser.error(f"--root {args.root} is not a directory")
    if args.all and args.output:
        parser.error("--output takes one version, not --all")
    _venv.become_owner(args.root)
    layout = Layout(args.root.resolve())
    pages: dict[str, str] = {}
    problems: dict[str, str] = {}
    try:
        for version in _chosen(layout, args):
            try:
                pages[version] = _shown(_make(layout, version, args.output))
            except FinetunedError as error:
                problems[version] = printable(str(error))
    except (FinetunedError, OSError) as error:
        problems["" if args.all else args.version or ""] = printable(str(error))
    if args.json:
        print(orjson.dumps({"pages": pages, "problems": problems}).decode())
    else:
        print("\n".join(pages.values()), end="\n" if pages else "")
    for problem in problems.values():
        print(f"report: {problem}", file=sys.stderr)
    if args.all and not pages and not problems:
        print("no versions yet", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # | head ends it quietly
    sys.exit(main())
