"""
The runs of a stream as tables: one page for docs/measurements/, one section for each run.

Knows nothing of the daemon; see experiments/stream.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

from finetuned.files.atomic import write_atomic

WIDTH = 110
"""Most characters of a line of prose."""

RUNS = Path(__file__).resolve().parents[1] / "build" / "stream"


@dataclass
class Judged:
    """
    The files of one job, and what became of them.
    """

    first: str
    """Name of the first file."""
    n_files: int
    n_bad: int
    """Files whose answers are permuted."""
    rows: int
    verdict: str
    version: str | None
    reason: str
    asked: dict[str, int]
    """Answers that had to be generated, by subject."""
    seconds: float = 0.0
    """From the verdict before, or from the drop if nothing was under way."""
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process, and by phase with ``phase `` before its name."""
    head: int | None = None
    """Right answers of the head on infra_200, with --ask each."""
    release: int | None = None
    """Those of the release."""


def keep(name: str, result: dict[str, Any], done: Sequence[Judged]) -> None:
    """
    Write what is known so far.
    """
    RUNS.mkdir(parents=True, exist_ok=True)
    found = {**result, "verdicts": [asdict(judged) for judged in done]}
    write_atomic(RUNS / f"{name}.json", json.dumps(found, indent=1).encode())
    write_atomic(RUNS / f"{name}.md", text(found).encode())


def costs(judged: Judged) -> str:
    """
    Return the CPU seconds of a job by process.
    """
    return ", ".join(f"{k} {v:.1f}" for k, v in judged.cpu.items() if not k.startswith("phase "))


def text(run: dict[str, Any], *, rows: bool = True) -> str:
    """
    Return one run as a section of the page.
    """
    verdicts = run["verdicts"]
    counts = Counter(v["verdict"] + (" (bad file)" if v["n_bad"] else "") for v in verdicts)
    books = run.get("books") or {}
    every = "at the verdict before" if run["every"] is None else f"every {run['every']:g} s"
    lines = [
        f"## {run['shape']}, seed {run['seed']}, {run['schedule']} rate, dropped {every}",
        "",
        *wrap(
            f"{sum(v['n_files'] for v in verdicts)} of {run['n_files']} files in "
            f"{sum(v['seconds'] for v in verdicts):.0f} s (load of the machine {run['load']}), CPU "
            f"{sum(_cpu(v) for v in verdicts):.0f} s; "
            f"{', '.join(f'{n} {verdict}' for verdict, n in counts.items())}; right answers on "
            f"infra_200: head {run.get('head', '-')}, release {run.get('release', '-')}; rows "
            f"learnt {books.get('learnt', '-')}, not learnt {books.get('not_learnt', '-')}, held "
            f"out {books.get('held_out', '-')}, refused {books.get('refused', '-')}.",
            WIDTH,
        ),
        "",
    ]
    if rows:
        lines += [
            "| files | rows | version | verdict | s | CPU s | asked | head | release | reason |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(_row(v) for v in verdicts),
        ]
    return "\n".join(lines) + "\n"


def _cpu(judged: dict[str, Any]) -> float:
    return sum(float(v) for k, v in judged["cpu"].items() if not k.startswith("phase "))


def _row(judged: dict[str, Any]) -> str:
    more = f" and {judged['n_files'] - 1} more" if judged["n_files"] > 1 else ""
    bad = f", {judged['n_bad']} bad" if judged["n_bad"] else ""
    cells = (
        judged["first"].removesuffix(".jsonl") + more + bad,
        judged["rows"],
        judged["version"],
        judged["verdict"],
        f"{judged['seconds']:.1f}",
        f"{_cpu(judged):.1f}",
        sum(judged["asked"].values()),
        "-" if judged["head"] is None else judged["head"],
        "-" if judged["release"] is None else judged["release"],
        judged["reason"][:80].replace("|", "/"),
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def summary(runs: Sequence[dict[str, Any]]) -> str:
    """
    Return one line for each run: what it cost and what head and release know at its end.
    """
    lines = [
        "| files | dropped | seed | head | release | wall s | CPU s | runs | verdicts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        verdicts = run["verdicts"]
        counts = Counter(v["verdict"] for v in verdicts)
        cells = (
            run["shape"] + ("" if run["schedule"] == "wsd" else f", {run['schedule']} rate"),
            "at the verdict before" if run["every"] is None else f"every {run['every']:g} s",
            run["seed"],
            run.get("head", "-"),
            run.get("release", "-"),
            f"{sum(v['seconds'] for v in verdicts):.0f}",
            f"{sum(_cpu(v) for v in verdicts):.0f}",
            len(verdicts),
            ", ".join(f"{n} {verdict}" for verdict, n in counts.items()),
        )
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """
    Return the page of all runs in build/stream/.
    """
    found = [json.loads(path.read_bytes()) for path in sorted(RUNS.glob("*.json"))]
    commands = (
        "    .venv/bin/python -m experiments.stream SHAPE --seed N",
        "    .venv/bin/python -m experiments.stream --page docs/measurements/stream.md",
    )
    about = (
        "The same 2,400 rows as one file, as 24 of 100 and as 120 of 20, each file dropped when "
        "the verdict on the one before is there, or on a timer, so that files that wait share a "
        "run; and with three files more whose answers are permuted (mix). Head and release: right "
        "answers of 200 on infra_200 at the end, or after each verdict if the daemon does not "
        "know these questions. The load of the machine says what else ran: seconds of CPU are "
        "the fairer cost."
    )
    head = "\n".join(["# A stream of small files", "", *commands, "", *wrap(about, WIDTH), "", ""])
    return head + summary(found) + "\n" + "\n".join(text(run) for run in found)
