"""
Measure what docs/measurements/daemon.md says of the daemon, on this machine.

    $ python -m experiments.measure
    supervisor RSS idle           44.1 MB
    supervisor CPU idle            0.3 %
    drop to first step, cold       5.1 s
    drop to first step, warm       2.0 s
    ...
    $ python -m experiments.measure gap
    file 1 to 2: all [s]           5.4
    ...
    $ python -m experiments.measure job
    worker's wall time [s]         301.5
    ...

Runs the real daemon on a throw-away root with the embedded base model. Takes
about three minutes, the gap between files one, a whole job six; use an idle machine.
Exit status: 0 measured, 1 a wait failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from finetuned.files.heartbeat import HEARTBEAT
from finetuned.files.run import EXIT, LOCK, REPORT, read_json, read_metrics
from finetuned.files.spec import SPEC
from finetuned.sources.intents import drop, training_rows

CONFIG = "[inbox]\nstability_seconds = {stability}\n[training]\nnum_train_epochs = {epochs}\n"
GAP_CONFIG = """[inbox]
stability_seconds = 2.0
share_run_max_examples = 0
[training]
num_train_epochs = 1
"""
JOB_CONFIG = "[training]\nnum_train_epochs = {epochs}\n"
WAIT_SECONDS = 900.0


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.measure",
        description="Measure the daemon on this machine.",
        epilog="examples:\n"
        "  python -m experiments.measure\n"
        "  python -m experiments.measure --json > figures.json\n"
        "  python -m experiments.measure gap --files 3 --rows 300\n"
        "  python -m experiments.measure job --rows 2000 --epochs 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=["daemon", "gap", "job"],
        default="daemon",
        help="daemon: memory, CPU and the wait for the first step (default); "
        "gap: from the last step of one file to the first of the next; "
        "job: what a worker's wall time is spent on",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="default 60")
    parser.add_argument(
        "--rows", type=int, default=None, help="rows of each file (default 600, gap 300, job 2000)"
    )
    parser.add_argument("--epochs", type=int, default=5, help="of job (default 5)")
    parser.add_argument("--files", type=int, default=3, help="of gap (default 3)")
    args = parser.parse_args(argv)
    root = Path(tempfile.mkdtemp(prefix="finetuned-measure-"))
    try:
        if args.what == "gap":
            figures = measure_gap(root, args.files, args.rows or 300)
        elif args.what == "job":
            figures = measure_job(root, args.rows or 2000, args.epochs)
        else:
            figures = measure(root, args.idle_seconds, args.rows or 600)
    except TimeoutError as error:
        print(f"measure: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if args.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:<36} {value}")
    return 0


def measure(root: Path, idle_seconds: float, rows: int) -> dict[str, Any]:
    """
    Return every figure; times in seconds, memory in MB (10^6 bytes).

    Raises:
        TimeoutError: The daemon did not get where it should.
    """
    daemon = start(root, CONFIG.format(stability=5.0, epochs=2))
    try:
        process = psutil.Process(daemon.pid)
        wait(root, lambda s: s["phase"] == "idle", "idle")
        time.sleep(3)
        figures = idle_figures(process, idle_seconds)
        figures["drop to first step, cold [s]"] = first_step(root, rows, seed=1, job=1)
        figures["supervisor RSS while training [MB]"] = megabytes(process)
        wait(root, lambda s: done(s) == 1, "the first verdict")
        time.sleep(10)  # the spare worker does its imports
        figures["drop to first step, warm [s]"] = first_step(root, rows, seed=2, job=2)
        wait(root, lambda s: done(s) == 2, "the second verdict")
        figures.update(run_figures(root))
    finally:
        daemon.terminate()
        daemon.wait(90)
    return figures


def start(root: Path, config: str) -> subprocess.Popen[bytes]:
    """
    Start a daemon on a fresh *root*.
    """
    (root / "inbox").mkdir()
    (root / "config.toml").write_text(config)
    with (root / "out.log").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "finetuned", "run", "--root", str(root)], stdout=out, stderr=out
        )


def idle_figures(process: psutil.Process, seconds: float) -> dict[str, Any]:
    """
    Return memory and CPU share of the idle supervisor over *seconds*.
    """
    before = process.cpu_times()
    began = time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return {
        "supervisor RSS idle [MB]": megabytes(process),
        "supervisor CPU idle [%]": round(100 * spent / (time.monotonic() - began), 2),
    }


def megabytes(process: psutil.Process) -> float:
    """
    Return the resident memory of *process* in MB.
    """
    return round(process.memory_info().rss / 1e6, 1)


def done(status: dict[str, Any]) -> int:
    """
    Return how many jobs have ended.
    """
    queue = status["queue"]
    return int(sum(queue[state] for state in ("promoted", "rejected", "failed", "skipped")))


def first_step(root: Path, rows: int, *, seed: int, job: int) -> float:
    """
    Drop one file by rename and return the seconds until its first optimizer step is in the status.
    """
    drop(training_rows(seed=seed, n=rows), root / "inbox", f"file{seed}.jsonl")
    began = time.monotonic()

    def stepped(status: dict[str, Any]) -> bool:
        current = status["job"] or {}
        return current.get("id") == f"j{job:06d}" and bool(read_metrics_of(root, job))

    wait(root, stepped, "the first step")
    return round(time.monotonic() - began, 2)


def read_metrics_of(root: Path, job: int) -> list[dict[str, Any]]:
    """
    Return the metrics of the newest training run of a job.
    """
    for folder in sorted((root / "models" / "runs").iterdir(), reverse=True):
        spec = read_json(folder / "spec.json") or {}
        if spec.get("kind") == "training" and spec.get("job_id") == f"j{job:06d}":
            return read_metrics(folder)
    return []


def run_figures(root: Path) -> dict[str, Any]:
    """
    Return how the worker's wall time was spent in the last job.
    """
    version = Path(os.path.realpath(root / "models" / "versions")) / "v0002"
    totals = (read_json(version / "manifest.json") or {})["totals"]
    metrics = read_metrics_of(root, 2)
    return {
        "steps of the second job": len(metrics),
        "seconds in optimizer steps": totals["seconds_steps"],
        "seconds in live evals": totals.get("seconds_eval", 0.0),
        "seconds in checkpoints": totals.get("seconds_checkpoint", 0.0),
        "live evals' share of wall time [%]": round(
            100
            * totals.get("seconds_eval", 0.0)
            / sum(totals.get(f"seconds_{k}", 0.0) for k in ("steps", "eval", "checkpoint")),
            2,
        ),
        "tokens per second": round(totals["tokens"] / totals["seconds_steps"]),
    }


def measure_job(root: Path, rows: int, epochs: int) -> dict[str, Any]:
    """
    Return what the wall time of one training run was spent on, its worker started cold.

    Raises:
        TimeoutError: The daemon did not get where it should.
    """
    daemon = start(root, JOB_CONFIG.format(epochs=epochs))
    try:
        wait(root, lambda s: s["phase"] == "idle", "idle")
        drop(training_rows(seed=1, n=rows), root / "inbox", "file1.jsonl")
        wait(root, lambda s: done(s) == 1, "the verdict")
    finally:
        daemon.terminate()
        daemon.wait(90)
    kinds = {r: (read_json(r / SPEC) or {})["kind"] for r in (root / "models" / "runs").iterdir()}
    (run,) = [r for r, kind in kinds.items() if kind == "training"]
    metrics = read_metrics(run)
    (version,) = (root / "models" / "versions").iterdir()
    totals = (read_json(version / "manifest.json") or {})["totals"]
    began, ended = started_at(root)[run.name], said_at(run, EXIT)
    first = seconds(metrics[0]["at"]) - metrics[0]["seconds"]
    spent = {
        "optimizer steps": totals["seconds_steps"],
        "start, to the first step": first - began,
        "evals": totals.get("seconds_eval", 0.0),
        "stalls for checkpoints": totals.get("seconds_checkpoint", 0.0),
        "end, from the last step": ended - seconds(metrics[-1]["at"]),
    }
    spent["status, logging and the rest"] = ended - began - sum(spent.values())
    figures: dict[str, Any] = {"steps": len(metrics), "worker's wall time [s]": ended - began}
    figures |= {f"{name} [s]": value for name, value in spent.items()}
    figures |= {f"{name} [%]": 100 * value / (ended - began) for name, value in spent.items()}
    return {name: round(value, 2) for name, value in figures.items()}


def measure_gap(root: Path, files: int, rows: int) -> dict[str, Any]:
    """
    Return, in seconds, what lies between two of several files dropped together, each a job.

    Raises:
        TimeoutError: The daemon did not get where it should.
    """
    daemon = start(root, GAP_CONFIG)
    try:
        wait(root, lambda s: s["phase"] == "idle", "idle")
        for i in range(files):
            drop(training_rows(seed=i + 1, n=rows), root / "inbox", f"file{i + 1}.jsonl")
        began = time.time()
        wait(root, lambda s: done(s) == files, "every verdict")
        figures: dict[str, Any] = {"first drop to last verdict [s]": round(time.time() - began, 2)}
    finally:
        daemon.terminate()
        daemon.wait(90)
    kinds = {r: (read_json(r / SPEC) or {})["kind"] for r in (root / "models" / "runs").iterdir()}
    runs = sorted(r for r, kind in kinds.items() if kind in ("training", "evaluation"))
    for i in range(files - 1):
        gap = gap_figures(root, *runs[2 * i : 2 * i + 3])
        figures |= {f"file {i + 1} to {i + 2}: {name} [s]": value for name, value in gap.items()}
    return figures


def gap_figures(root: Path, before: Path, judging: Path, after: Path) -> dict[str, float]:
    """
    Return the parts of one gap in their order, by the words of each process and its files.

    Args:
        root: Its log says when a run was started.
        before: Run folder of a training, ...
        judging: ... of its evaluation, and ...
        after: ... of the training of the next file.
    """
    started = started_at(root)
    report, first_step = read_json(judging / REPORT) or {}, read_metrics(after)[0]
    marks = {
        "": seconds(read_metrics(before)[-1]["at"]),
        "checkpoint and candidate": said_at(before, EXIT),
        "evaluation is started": started[judging.name],
        "its worker takes it up": (judging / LOCK).stat().st_mtime,
        "tokenizer, rows, models": 0.0,
        "asking": seconds(report["created_at"]),
        "verdict, promotion": started[after.name],
        "model, plan, rehearsal": seconds((read_json(after / HEARTBEAT) or {})["ready_at"]),
        "to the first step's begin": seconds(first_step["at"]) - first_step["seconds"],
    }
    loading = sum(s["load_seconds"] for s in report.get("subjects", {}).values())
    marks["tokenizer, rows, models"] = marks["its worker takes it up"] + loading
    times = list(marks.values())
    figures = {"all": times[-1] - times[0]}
    for name, earlier, later in zip(list(marks)[1:], times, times[1:], strict=False):
        figures[name] = later - earlier
    return {name: round(value, 2) for name, value in figures.items()}


def started_at(root: Path) -> dict[str, float]:
    """
    Return when the supervisor started each run, in seconds since the epoch, by its log.
    """
    return {
        event["run_id"]: seconds(event["timestamp"])
        for line in (root / "logs" / "supervisor.log").read_text().splitlines()
        if (event := json.loads(line))["event"] == "run_started"
    }


def seconds(at: str) -> float:
    """
    Return a time as the files spell it, in seconds since the epoch.
    """
    return datetime.fromisoformat(at).timestamp()


def said_at(run: Path, name: str) -> float:
    """
    Return when the worker of *run* wrote its record *name*, in seconds since the epoch.
    """
    return seconds((read_json(run / name) or {})["at"])


def wait(root: Path, condition: Callable[[dict[str, Any]], bool], what: str) -> None:
    """
    Wait until the status fulfils *condition*.

    Raises:
        TimeoutError: It did not within five minutes.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        status = read_json(root / "status" / "training_status.json")
        if status is not None and condition(status):
            return
        time.sleep(0.02)
    raise TimeoutError(f"waited for {what}: {status}")


if __name__ == "__main__":
    raise SystemExit(main())
