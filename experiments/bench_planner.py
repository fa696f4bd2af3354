"""
Measure how long a job of many rows takes to plan, and in how much memory.

    $ python -m experiments.bench_planner
    rows          1000000
    prefixes         1.79 s   50 classes
    plan             0.45 s   62500 steps
    costliest        0.25 s   480 tokens
    peak memory       425 MB  of which 240 MB is the mapped token file

Rows share one of several prompts and go on at random; they lie in a memory-mapped
file, as a tokenised dataset does. Exit status: 0 measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from finetuned.data.plan import plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes

_ROWS_AT_ONCE = 1 << 16


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench_planner",
        description="Measure the batch planner.",
        epilog="examples:\n"
        "  python -m experiments.bench_planner\n"
        "  python -m experiments.bench_planner --rows 100000 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="default 1000000")
    parser.add_argument("--prompts", type=int, default=50, help="default 50")
    parser.add_argument("--shared", type=int, default=40, help="tokens of a prompt (default 40)")
    parser.add_argument("--own", type=int, default=20, help="tokens of a row after it (default 20)")
    parser.add_argument("--epochs", type=int, default=1, help="default 1")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="finetuned-bench-") as folder:
        tokens = make_rows(Path(folder, "tokens.u32"), args)
        figures = measure(tokens, args)
    if args.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(f"rows         {figures['rows']:>8}")
    print(f"prefixes     {figures['prefixes_seconds']:>8.2f} s   {figures['classes']} classes")
    print(f"plan         {figures['plan_seconds']:>8.2f} s   {figures['steps']} steps")
    print(f"costliest    {figures['costliest_seconds']:>8.2f} s   {figures['costliest']} tokens")
    print(
        f"peak memory  {figures['peak_rss_mb']:>8.0f} MB  "
        f"of which {figures['mapped_mb']:.0f} MB is the mapped token file"
    )
    return 0


def make_rows(path: Path, args: argparse.Namespace) -> Any:
    """
    Write rows of ``shared + own`` tokens in chunks and return them mapped, flat.
    """
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, 32_000, (args.prompts, args.shared), dtype=np.uint32)
    with path.open("wb") as f:
        for start in range(0, args.rows, _ROWS_AT_ONCE):
            n = min(_ROWS_AT_ONCE, args.rows - start)
            own = rng.integers(0, 32_000, (n, args.own), dtype=np.uint32)
            f.write(np.hstack([prompts[rng.integers(0, args.prompts, n)], own]).tobytes())
    return np.memmap(path, dtype=np.uint32, mode="r")


def measure(tokens: Any, args: argparse.Namespace) -> dict[str, float]:
    """
    Plan once and return seconds, counts and the peak memory of this process.
    """
    width = args.shared + args.own
    lengths = np.full(args.rows, width, dtype=np.int64)
    offsets = np.arange(args.rows, dtype=np.int64) * width
    begin = time.monotonic()
    # The last 4 tokens of a row play the answer.
    prefixes = find_prefixes(block_reader([(tokens, offsets)]), lengths - 5, rows_per_batch=16)
    found = time.monotonic()
    plan = plan_batches(
        lengths,
        class_of=prefixes.class_of,
        prefix_lengths=prefixes.lengths,
        rows_per_step=16,
        max_rows=16,
        epochs=args.epochs,
        seed=0,
    )
    planned = time.monotonic()
    costliest = plan.cost(plan.costliest(4096))
    searched = time.monotonic()
    return {
        "rows": args.rows,
        "tokens": len(tokens),
        "classes": len(prefixes.lengths),
        "steps": len(plan),
        "prefixes_seconds": found - begin,
        "plan_seconds": planned - found,
        "costliest_seconds": searched - planned,
        "costliest": costliest,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "mapped_mb": tokens.nbytes / 1e6,
    }


if __name__ == "__main__":
    raise SystemExit(main())
