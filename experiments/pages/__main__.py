"""
Check the generated parts of README.md and docs/reference/, or write them anew.

    $ python -m experiments.pages
    README.md: tree differs from the code; run: python -m experiments.pages --write
    $ python -m experiments.pages --write
    README.md: tree was written anew

Exit status: 0 all parts agree with the code, or were written; 1 a part differs; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "daemon"


def main(argv: list[str] | None = None) -> int:
    """
    Check every generated part, or write those that differ.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help="write the parts that differ")
    args = parser.parse_args(argv)
    sys.path.insert(0, str(SOURCES))  # of this checkout, whichever one is installed
    from experiments.pages.parts import PARTS, write_part

    differing = [part for part in PARTS if part.expected() != part.current()]
    for part in differing:
        if args.write:
            write_part(part)
            print(f"{part.page}: {part.name} was written anew")
        else:
            print(
                f"{part.page}: {part.name} differs from the code; "
                "run: python -m experiments.pages --write",
                file=sys.stderr,
            )
    return 1 if differing and not args.write else 0


if __name__ == "__main__":
    raise SystemExit(main())
