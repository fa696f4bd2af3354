#!/usr/bin/env python3
"""
Write the demo dataset, or its fixed test set, as JSON lines.

    tools/make_intents.py                        2800 training rows to the standard output
    tools/make_intents.py --inbox inbox          the same, dropped into an inbox
    tools/make_intents.py --seed 7 --rows 600    other rows, fewer
    tools/make_intents.py --test-set             benchmarks/infra_200.jsonl, made again

Exit status: 0 written, 1 too few unique rows or the disk refused.
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
from finetuned.sources import intents


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2800, help="training rows (default 2800)")
    parser.add_argument("--seed", type=int, default=0, help="of the training rows (default 0)")
    parser.add_argument("--inbox", type=Path, help="drop the dataset into this directory")
    parser.add_argument("--name", default="infra_commands.jsonl", help="its file name there")
    parser.add_argument("--test-set", action="store_true", help="write the test set instead")
    args = parser.parse_args(argv)
    try:
        if args.test_set:
            path = Path(__file__).resolve().parents[1] / "benchmarks" / "infra_200.jsonl"
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, intents.to_jsonl(intents.test_rows()))
            print(path)
            return 0
        rows = intents.training_rows(args.seed, args.rows)
        if args.inbox is None:
            sys.stdout.buffer.write(intents.to_jsonl(rows))
            return 0
        print(intents.drop(rows, args.inbox, args.name))
    except (DatasetError, OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    classes = Counter(row["metadata"]["class"] for row in rows)
    print(", ".join(f"{name} {n}" for name, n in sorted(classes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
