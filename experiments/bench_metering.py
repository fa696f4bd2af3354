"""
Measure what the metering of runs costs: one look at a worker, one write into the journal.

    $ python -m experiments.bench_metering
    one look: 4.61 ms of processor time (median of 200)
    ...

The worker is not touched: its counters are read from outside. What is paid is processor time of
the supervisor, at most once in 5 seconds after a run's first 20, and one transaction of the
journal in 5 seconds. docs/measurements/metering.md has the figures.

Exit status: 0 measured, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from finetuned.files.journal import Journal
from finetuned.files.rows import UsageRow
from finetuned.supervisor.usage import LOOK_SECONDS
from finetuned.telemetry.energy import RunMeter

BUSY = "while True: pass"


def looks(n: int) -> list[float]:
    """
    Return the processor time of *n* looks at a process that computes, in seconds each.
    """
    worker = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        meter = RunMeter(worker.pid)
        found = []
        for _ in range(n):
            began = time.process_time()
            meter.look()
            found.append(time.process_time() - began)
    finally:
        worker.kill()
        worker.wait()
    return found


def writes(n: int) -> list[tuple[float, float]]:
    """
    Return processor time and wall time of *n* writes of one row, in seconds each.
    """
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Journal(Path(folder) / "journal.sqlite3")) as journal,
    ):
        for i in range(n):
            cpu, wall = time.process_time(), time.monotonic()
            journal.usage.put([UsageRow("r000001", i, i, None, None, 0)])
            found.append((time.process_time() - cpu, time.monotonic() - wall))
    return found


def main(argv: list[str] | None = None) -> int:
    """
    Print the figures.
    """
    parser = argparse.ArgumentParser(description="Measure what the metering of runs costs.")
    parser.add_argument("--times", type=int, default=200, help="looks and writes (default 200)")
    args = parser.parse_args(argv)
    if args.times < 1:
        parser.error("--times must be above 0")
    look = median(looks(args.times))
    cpu, wall = (median(column) for column in zip(*writes(args.times), strict=True))
    share = (look + cpu) / LOOK_SECONDS
    print(f"one look: {1000 * look:.2f} ms of processor time (median of {args.times})")
    print(f"one write: {1000 * cpu:.2f} ms of processor time, {1000 * wall:.2f} ms until durable")
    print(f"of one core while a run goes on: {100 * share:.3f}%")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
