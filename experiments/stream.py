"""
Measure a stream of small files against one large file of the same rows.

    $ python -m experiments.stream 24x100 --seed 0
    verdict 1, files 1 of 24: held v0001 in 12.1 s (evaluation 4.0, ...), asked {...}, ETA 4:39: ...
    ...
    $ python -m experiments.stream 24x100 --every 5 --seed 0
    $ python -m experiments.stream --page docs/measurements/stream.md

Runs a real daemon on a throw-away root with the settings of the demo and drops 2,400 good
rows of its infrastructure commands: as one file, as 24 of 100, as 120 of 20, or as 24 of
100 with three bad ones among them, whose answers are permuted. A file is dropped when the
verdict on the one before is there, or so many seconds after it (--every); files that wait
together share a run, as always. After each verdict it notes version, verdict, seconds, CPU
seconds of each process and phase, and the answers that had to be generated; at the end
head and release are asked infra_200 by hand.

Everything is in build/stream/NAME.json and .md after each verdict, so an interrupted
run loses nothing that was measured. ``--page`` puts the runs found there on one page.

Exit status: 0 measured, 1 the daemon failed or a wait took too long, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil

from experiments.cpu_usage import Usage
from experiments.stream_files import SHAPES, SmallFile, shape
from experiments.stream_page import RUNS, Judged, costs, keep, page, text
from finetuned.core.job import FINAL_STATES
from finetuned.files.atomic import write_atomic
from finetuned.files.journal import Journal
from finetuned.files.rows import JobRow
from finetuned.files.run import REPORT, read_json
from finetuned.layout import Layout
from finetuned.process.environment import child_environment
from finetuned.sources.intents import drop

CHECKOUT = Path(__file__).resolve().parents[1]
SUITE = CHECKOUT / "benchmarks" / "infra_200.jsonl"
CANARIES = CHECKOUT / "benchmarks" / "examples" / "canaries.jsonl"
LOOK_SECONDS = 0.1
WAIT_SECONDS = 1800.0

CONFIG = """\
[inbox]
stability_seconds = 0.5

[training]
learning_rate = 1e-3
lr_scheduler_type = "{schedule}"
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
    parser.add_argument(
        "--every", type=float, help="drop a file every so many seconds, whatever was decided"
    )
    parser.add_argument("--files", type=int, help="drop only the first so many files")
    parser.add_argument(
        "--schedule",
        default="wsd",
        help="lr_scheduler_type (default wsd, as in the product)",
    )
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
    name = f"{args.shape}-{args.seed}-{args.schedule}"
    name += "" if args.every is None else f"-every{args.every:g}"
    name += "" if args.files is None else f"-first{args.files}"
    result = {
        "shape": args.shape,
        "seed": args.seed,
        "schedule": args.schedule,
        "every": args.every,
        "n_files": len(files),
        "load": load(),
    }
    done: list[Judged] = []
    try:
        (root / "config.toml").write_text(CONFIG.format(schedule=args.schedule))
        (root / "inbox").mkdir()
        (root / "benchmarks").mkdir()
        for suite in (CANARIES,) if args.blind else (CANARIES, SUITE):
            shutil.copy(suite, root / "benchmarks")
        with daemon(root) as process:
            for judged in Stream(root, process, files, args.every).verdicts():
                if args.ask == "each":
                    judged.head = ask(root, Layout(root).head)
                    judged.release = ask(root, Layout(root).current_model)
                done.append(judged)
                keep(name, result, done)
                show(done, len(files))
            result["books"] = settled_books(root)
        if args.ask != "no":
            result["head"] = ask(root, Layout(root).head)
            result["release"] = ask(root, Layout(root).current_model)
        keep(name, result, done)
        print(text(json.loads((RUNS / f"{name}.json").read_bytes()), rows=False))
    finally:
        if args.keep:
            print(f"kept {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


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


class Stream:
    """
    The files on their way into a daemon, and the verdicts that come back.
    """

    def __init__(
        self, root: Path, process: psutil.Process, files: Sequence[SmallFile], every: float | None
    ) -> None:
        self._root = root
        self._layout = Layout(root)
        self._process = process
        self._files = {file.name: file for file in files}
        self._to_drop = list(files)
        self._every = every
        self._dropped_at = -float("inf")

    def verdicts(self) -> Iterator[Judged]:
        """
        Drop the files, and yield what became of each job as soon as its verdict is there.

        The clock and the CPU seconds of a job begin when the verdict before it was yielded, or
        when its first file is dropped if nothing was under way.

        Raises:
            Failed: The daemon ended, or no verdict came.
        """
        used, n_judged, n_jobs = Usage(self._process), 0, 0
        while n_judged < len(self._files):
            began, by = time.monotonic(), Counter[str]()
            used.since_last_look()
            self._drop_next()
            while len(found := self._ended()) == n_jobs:
                self._check(began)
                time.sleep(LOOK_SECONDS)
                phase = (status(self._root) or {}).get("phase")
                for kind, seconds in used.since_last_look().items():
                    by[kind] += seconds
                    by[f"phase {phase}"] += seconds
                if self._every is not None:
                    self._drop_next()
            for job in found[n_jobs:]:
                judged = self._judged(job)
                judged.seconds = round(time.monotonic() - began, 2)
                judged.cpu = {k: round(v, 2) for k, v in sorted(by.items()) if v >= 0.005}
                n_judged, n_jobs = n_judged + judged.n_files, n_jobs + 1
                began, by = time.monotonic(), Counter[str]()
                yield judged

    def _drop_next(self) -> None:
        """Drop the files that are due: one, or those whose time has come."""
        while self._to_drop and time.monotonic() - self._dropped_at >= (self._every or 0.0):
            file = self._to_drop.pop(0)
            drop(file.rows, self._root / "inbox", file.name)
            self._dropped_at = time.monotonic()
            if self._every != 0:
                return

    def _check(self, began: float) -> None:
        """Raise Failed if there is nothing to wait for."""
        gone = not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        if gone:
            raise Failed("the daemon ended")
        if time.monotonic() - began > WAIT_SECONDS:
            raise Failed(f"no verdict in {WAIT_SECONDS:.0f} s")

    def _ended(self) -> list[JobRow]:
        """Return the jobs that have ended, oldest first."""
        if not self._layout.journal.exists():
            return []
        with closing(Journal(self._layout.journal)) as journal:
            return sorted(journal.jobs.in_states(*FINAL_STATES), key=lambda job: job.id)

    def _judged(self, job: JobRow) -> Judged:
        with closing(Journal(self._layout.journal)) as journal:
            files = [self._files[d.name] for d in journal.datasets.of_job(job.id)]
        return Judged(
            first=files[0].name,
            n_files=len(files),
            n_bad=sum(file.bad for file in files),
            rows=sum(len(file.rows) for file in files),
            verdict=job.state,
            version=job.version,
            reason=job.reason or job.error_message or "",
            asked=asked(self._layout, job.version),
        )


def status(root: Path) -> dict[str, Any] | None:
    """
    Return the daemon's status document.
    """
    return read_json(root / "status" / "training_status.json")


def settled_books(root: Path) -> dict[str, Any] | None:
    """
    Return what the status counts of all rows, once nothing is being done.
    """
    deadline = time.monotonic() + 30
    while (now := status(root) or {}).get("phase") != "idle" and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    books: dict[str, Any] | None = now.get("books")
    return books


def asked(layout: Layout, version: str | None) -> dict[str, int]:
    """
    Return how many answers the evaluation of *version* had to generate, by subject.
    """
    report = (read_json(layout.versions / version / REPORT) or {}) if version else {}
    return {
        name: sum(max(0, s["n_asked"] - s["n_cached"]) for s in subject["suites"].values())
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


def show(done: Sequence[Judged], n_files: int) -> None:
    """
    Print the last verdict, and how long the rest will take.
    """
    last, n_done = done[-1], sum(judged.n_files for judged in done)
    left = (n_files - n_done) * sum(judged.seconds for judged in done) / n_done
    print(
        f"verdict {len(done)}, files {n_done} of {n_files}: {'BAD ' if last.n_bad else ''}"
        f"{last.verdict} {last.version} in {last.seconds:.1f} s ({costs(last)}), "
        f"asked {last.asked}, ETA {left / 60:.0f}:{left % 60:02.0f}: {last.reason[:100]}",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
