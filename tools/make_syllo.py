#!/usr/bin/env python3
"""
Write SYLLO puzzles, or the three fixed benchmarks made of them, as JSON lines.

    tools/make_syllo.py                                2000 puzzles to the standard output
    tools/make_syllo.py --inbox inbox                  the same, dropped into an inbox
    tools/make_syllo.py --seed 7 --rows 300            other puzzles, fewer
    tools/make_syllo.py --difficulty hard --rows 500   puzzles of one kind
    tools/make_syllo.py --test-sets                    benchmarks/syllo_*_100.jsonl, made again

    $ tools/make_syllo.py --rows 600 --inbox inbox
    inbox/syllo.jsonl
    easy 200, medium 200, hard 200

Exit status: 0 written, 1 too few different puzzles or the disk refused, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import _venv

_venv.activate()

from finetuned.errors import DatasetError
from finetuned.files.atomic import write_atomic
from finetuned.sources import syllo


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000, help="training rows (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the training rows (default 0)")
    parser.add_argument("--difficulty", choices=list(syllo.LEVELS), help="default: all, in turn")
    parser.add_argument("--inbox", type=Path, help="drop the dataset into this directory")
    parser.add_argument("--name", default="syllo.jsonl", help="its file name there")
    parser.add_argument("--test-sets", action="store_true", help="write the benchmarks instead")
    args = parser.parse_args(argv)
    if args.rows < 1:
        parser.error(f"--rows must be at least 1, got {args.rows}")
    try:
        if args.test_sets:
            for path in write_benchmarks():
                print(path)
            return 0
        rows = syllo.training_rows(args.seed, args.rows, args.difficulty)
        if args.inbox is None:
            sys.stdout.buffer.write(syllo.to_jsonl(rows))
            return 0
        print(syllo.drop(rows, args.inbox, args.name))
    except (DatasetError, OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    levels = Counter(row["metadata"]["difficulty"] for row in rows)
    print(", ".join(f"{name} {levels[name]}" for name in syllo.LEVELS if levels[name]))
    return 0


def write_benchmarks() -> list[Path]:
    """
    Make the benchmark of each difficulty again, and return their paths.
    """
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    folder.mkdir(exist_ok=True)
    paths = []
    for difficulty in syllo.LEVELS:
        rows = syllo.test_rows(difficulty)
        path = folder / f"syllo_{difficulty}_{len(rows)}.jsonl"
        write_atomic(path, syllo.to_jsonl(rows))
        paths.append(path)
    return paths


if __name__ == "__main__":
    sys.exit(main())
