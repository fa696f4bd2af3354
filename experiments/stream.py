"""
Measure a stream of small files against one large file of the same rows.

    $ python -m experiments.stream 24x100 --seed 0
    file 1 of 24: held v0001 in 12.1 s (cpu 9.8 s), 31 asked, ETA 4:39
    ...
    $ python -m experiments.stream --page docs/measurements/stream.md

Runs a real daemon on a throw-away root with the settings of the demo and drops 2,400 good
rows of its infrastructure commands: as one file, as 24 of 100, as 120 of 20, or as 24 of
100 with three bad ones among them, whose answers are permuted. A file is dropped when the
verdict on the one before is there. After each verdict it notes version, verdict, seconds,
CPU seconds of each process and phase, and the answers that had to be generated; at the
end head and release are asked infra_200 by hand.

Everything is in build/stream/SHAPE-SEED.json and .md after each file, so an interrupted
run loses nothing that was measured. ``--page`` puts the runs found there on one page.

Exit status: 0 measured, 1 the daemon failed or a wait took too long, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from experiments.cpu_usage import Usage
from experiments.stream_page import RUNS, Dropped, costs, keep, page, text
from finetuned.core.job import FINAL_STATES, JobState
from finetuned.files.atomic import write_atomic
from finetuned.files.journal import Journal
from finetuned.files.rows import JobRow
from finetuned.files.run import REPORT, read_json
from finetuned.layout import Layout
from finetuned.process.environment import child_environment
from finetuned.sources.intents import drop, training_rows

CHECKOUT = Path(__file__).resolve().parents[1]
SUITE = CHECKOUT / "benchmarks" / "infra_200.jsonl"
CANARIES = CHECKOUT / "benchmarks" / "canaries.jsonl"
SHAPES = {"1x2400": (1, 2400), "24x100": (24, 100), "120x20": (120, 20), "mix": (24, 100)}
BAD_FILES = 3
"""Beside 24 good files, in the shape ``mix``."""
LOOK_SECONDS = 0.1
WAIT_SECONDS = 1800.0

CONFIG = """\
[inbox]
stability_seconds = 0.5

[training]
learning_rate = 1e-3
lora_alpha = 64
lr_scheduler_type = "{schedule}"
per_device_train_batch_size = 8
num_train_epochs = 2
"""


class Failed(Exception):
    """
    The daemon ended, or a wait took too long.
    """


def main(argv: list[str] | None = None) -> int:
    """
    Measure one shape, or write the page; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.stream",
        description="Measure a stream of small files against one large file of the same rows.",
    )
    parser.add_argument("shape", nargs="?", choices=SHAPES)
    parser.add_argument("--seed", type=int, default=0, help="of the rows and their order")
    parser.add_argument("--files", type=int, help="drop only the first so many files")
    parser.add_argument("--schedule", default="linear", help="lr_scheduler_type (default linear)")
    parser.add_argument("--ask", choices=("end", "each", "no"), default="end")
    parser.add_argument(
        "--blind", action="store_true", help="keep infra_200 out of the root's benchmarks"
    )
    parser.add_argument("--keep", action="store_true", help="keep the root")
    parser.add_argument("--page", type=Path, help="write the page of all runs in build/stream/")
    args = parser.parse_args(argv)
    if args.page is not None:
        write_atomic(args.page, page().encode())
        return 0
    if args.shape is None:
        parser.error("name a shape or --page")
    try:
        measure(args)
    except Failed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was measured is in build/stream/", file=sys.stderr)
        return 130
    return 0


def measure(args: argparse.Namespace) -> None:
    """
    Run the daemon and drop the files of one shape.

    Raises:
        Failed: As the module's text says.
    """
    files = shape(args.shape, args.seed)[: args.files]
    root = Path(tempfile.mkdtemp(prefix="finetuned-stream-"))
    name = f"{args.shape}-{args.seed}" + ("" if args.files is None else f"-first{args.files}")
    done: list[Dropped] = []
    result = {"shape": args.shape, "seed": args.seed, "schedule": args.schedule, "load": load()}
    try:
        (root / "config.toml").write_text(CONFIG.format(schedule=args.schedule))
        (root / "inbox").mkdir()
        (root / "benchmarks").mkdir()
        for suite in (CANARIES,) if args.blind else (CANARIES, SUITE):
            shutil.copy(suite, root / "benchmarks")
        with daemon(root) as process:
            for file, rows in files:
                follow(root, process, file, rows)
                if args.ask == "each":
                    file.accuracy = ask(root, Layout(root).head)
                done.append(file)
                keep(name, result, done, len(files))
                show(done, len(files))
            result["books"] = (status(root) or {}).get("books")
        if args.ask != "no":
            result["head"] = ask(root, Layout(root).head)
            result["release"] = ask(root, Layout(root).current_model)
        keep(name, result, done, len(files))
        print(text(json.loads((RUNS / f"{name}.json").read_bytes()), rows=False))
    finally:
        if args.keep:
            print(f"kept {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


def shape(name: str, seed: int) -> list[tuple[Dropped, list[dict[str, Any]]]]:
    """
    Return the files of a shape, in the order in which they are dropped.
    """
    n, size = SHAPES[name]
    rng = random.Random(seed)
    rows = training_rows(seed, n * size + (BAD_FILES * size if name == "mix" else 0))
    rng.shuffle(rows)
    parts = [(False, rows[i * size : (i + 1) * size]) for i in range(n)]
    if name == "mix":
        parts += [
            (True, permuted(rows[i * size : (i + 1) * size], rng)) for i in range(n, n + BAD_FILES)
        ]
        rng.shuffle(parts)
    return [
        (Dropped(f"part_{i:03}.jsonl", len(part), bad), part)
        for i, (bad, part) in enumerate(parts, 1)
    ]


def permuted(rows: Sequence[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """
    Return the rows with each other's answers.
    """
    answers = [row["messages"][-1] for row in rows]
    rng.shuffle(answers)
    return [
        {**row, "messages": [*row["messages"][:-1], answer]}
        for row, answer in zip(rows, answers, strict=True)
    ]


@contextmanager
def daemon(root: Path) -> Iterator[psutil.Process]:
    """
    Run the real daemon on *root*, and end it gracefully.
    """
    with (root / "daemon.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetuned", "run", "--root", str(root)],
            stdout=output,
            stderr=output,
            env=child_environment(),
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)
        else:
            print((root / "daemon.log").read_text()[-2000:], file=sys.stderr)


def follow(root: Path, process: psutil.Process, file: Dropped, rows: list[dict[str, Any]]) -> None:
    """
    Drop one file, wait for its verdict, and note what it cost.

    Raises:
        Failed: No verdict came.
    """
    layout = Layout(root)
    known = len(jobs(layout))
    used, by = Usage(process), Counter[str]()
    began = time.monotonic()
    drop(rows, root / "inbox", file.name)
    while time.monotonic() - began < WAIT_SECONDS:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise Failed("the daemon ended")
        phase = (status(root) or {}).get("phase")
        for kind, seconds in used.since_last_look().items():
            by[kind] += seconds
            by[f"phase {phase}"] += seconds
        found = jobs(layout)
        if len(found) > known and found[-1].state in FINAL_STATES:
            job = found[-1]
            file.seconds = round(time.monotonic() - began, 2)
            file.verdict, file.version = job.state, job.version
            file.reason = job.reason or job.error_message or ""
            file.cpu = {k: round(v, 2) for k, v in sorted(by.items()) if v >= 0.005}
            file.asked = asked(layout, job.version)
            return
        time.sleep(LOOK_SECONDS)
    raise Failed(f"{file.name}: no verdict in {WAIT_SECONDS:.0f} s")


def status(root: Path) -> dict[str, Any] | None:
    """
    Return the daemon's status document.
    """
    return read_json(root / "status" / "training_status.json")


def jobs(layout: Layout) -> list[JobRow]:
    """
    Return the jobs of the journal, oldest first.
    """
    if not layout.journal.exists():
        return []
    journal = Journal(layout.journal)
    try:
        return sorted(journal.jobs.in_states(*JobState), key=lambda job: job.id)
    finally:
        journal.close()


def asked(layout: Layout, version: str | None) -> dict[str, int]:
    """
    Return how many answers the evaluation of *version* had to generate, by subject.
    """
    report = (read_json(layout.versions / version / REPORT) or {}) if version else {}
    return {
        name: sum(s["n_asked"] - s["n_cached"] for s in subject["suites"].values())
        for name, subject in report.get("subjects", {}).items()
        if subject["same_as"] is None
    }


def ask(root: Path, model: Path) -> int | None:
    """
    Return the right answers of *model* on infra_200, None if there is no such model.
    """
    if not model.exists():
        return None
    command = ["test", "--root", str(root), "--model", str(model.resolve()), "--json"]
    found = subprocess.run(
        [sys.executable, "-m", "finetuned", *command, "--suite", str(SUITE)],
        env=child_environment(),
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
    )
    if not found.stdout:
        raise Failed(f"infra_200 could not be asked: {found.stderr.decode()[-500:]}")
    return int(json.loads(found.stdout)["overall"]["n_correct"])


def load() -> float:
    """
    Return the load of the machine: above its cores, wall seconds mean little.
    """
    return round(psutil.getloadavg()[0], 1)


def show(done: Sequence[Dropped], n_files: int) -> None:
    """
    Print the last file, and how long the rest will take.
    """
    file = done[-1]
    left = (n_files - len(done)) * sum(f.seconds for f in done) / len(done)
    print(
        f"file {len(done)} of {n_files}: {'BAD ' if file.bad else ''}{file.verdict} "
        f"{file.version} in {file.seconds:.1f} s ({costs(file)}), asked {file.asked}, "
        f"ETA {left / 60:.0f}:{left % 60:02.0f}: {file.reason[:100]}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
