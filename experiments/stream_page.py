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
from typing import Any

from finetuned.files.atomic import write_atomic

RUNS = Path(__file__).resolve().parents[1] / "build" / "stream"


@dataclass
class Dropped:
    """
    One file, and what became of it.
    """

    name: str
    rows: int
    bad: bool
    verdict: str = ""
    version: str | None = None
    reason: str = ""
    seconds: float = 0.0
    """From the drop to the verdict."""
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process, and by phase with ``phase `` before its name."""
    asked: dict[str, int] = field(default_factory=dict)
    """Answers that had to be generated, by subject."""
    accuracy: int | None = None
    """Right answers of the head on infra_200, with --ask each."""


def keep(name: str, result: dict[str, Any], done: Sequence[Dropped], n_files: int) -> None:
    """
    Write what is known so far.
    """
    RUNS.mkdir(parents=True, exist_ok=True)
    found = {**result, "n_files": n_files, "files": [asdict(file) for file in done]}
    write_atomic(RUNS / f"{name}.json", json.dumps(found, indent=1).encode())
    write_atomic(RUNS / f"{name}.md", text(found).encode())


def costs(file: Dropped) -> str:
    """
    Return the CPU seconds of a file by process.
    """
    return ", ".join(f"{k} {v:.1f}" for k, v in file.cpu.items() if not k.startswith("phase "))


def text(run: dict[str, Any], *, rows: bool = True) -> str:
    """
    Return one run as a section of the page.
    """
    files = run["files"]
    verdicts = Counter(f["verdict"] + (" (bad file)" if f["bad"] else "") for f in files)
    books = run.get("books") or {}
    lines = [
        f"### {run['shape']}, seed {run['seed']}, schedule {run['schedule']}",
        "",
        f"{len(files)} of {run['n_files']} files in {sum(f['seconds'] for f in files):.0f} s "
        f"(load of the machine {run['load']}), CPU "
        f"{sum(v for f in files for k, v in f['cpu'].items() if not k.startswith('phase ')):.0f} s;"
        f" {', '.join(f'{n} {verdict}' for verdict, n in verdicts.items())}; right answers on "
        f"infra_200: head {run.get('head', '-')}, release {run.get('release', '-')}; rows learnt "
        f"{books.get('learnt', '-')}, not learnt {books.get('not_learnt', '-')}, held out "
        f"{books.get('held_out', '-')}, refused {books.get('refused', '-')}.",
        "",
    ]
    if rows:
        lines += [
            "| file | rows | version | verdict | s | CPU s | generated | infra_200 | reason |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
    for file in files if rows else ():
        cpu = sum(v for k, v in file["cpu"].items() if not k.startswith("phase "))
        bad = ", bad" if file["bad"] else ""
        lines.append(
            f"| {file['name']}{bad} | {file['rows']} | {file['version']} | {file['verdict']} "
            f"| {file['seconds']:.1f} | {cpu:.1f} | {sum(file['asked'].values())} "
            f"| {'-' if file['accuracy'] is None else file['accuracy']} "
            f"| {file['reason'][:80].replace('|', '/')} |"
        )
    return "\n".join(lines) + "\n"


def page() -> str:
    """
    Return the page of all runs in build/stream/.
    """
    found = [json.loads(path.read_bytes()) for path in sorted(RUNS.glob("*.json"))]
    head = (
        "# A stream of small files\n\n    python -m experiments.stream SHAPE --seed N\n"
        "    python -m experiments.stream --page docs/measurements/stream.md\n\n"
        "The same 2,400 rows as one file, as 24 of 100 and as 120 of 20, each file dropped when "
        "the verdict\non the one before is there; and with three files among them whose answers "
        "are permuted (mix).\n\n"
    )
    return head + "\n".join(text(run) for run in found)
