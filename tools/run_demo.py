#!/usr/bin/env python3
"""
The demonstration behind tools/demo: a real daemon, a real file, a better model.

    $ tools/demo --json

Starts the daemon on a throw-away root, drops the infrastructure commands into
its inbox, shows it at work, and once a candidate was judged compares the base
with the new version: on the daemon's own held-out rows and on the 200 rows of
benchmarks/infra_200.jsonl, which no training row shares a phrasing or name with.

Exit status: 0 a version was promoted, 1 it was not, 70 the daemon ended early.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finetuned.core.metrics import mean_loss, wilson_interval
from finetuned.files.run import read_json
from finetuned.sources.intents import drop, training_rows

CHECKOUT = Path(__file__).resolve().parents[1]
BENCHMARK = CHECKOUT / "benchmarks" / "infra_200.jsonl"
TIME_LIMIT_SECONDS = 900.0
PROMPT = "Please create a DNS record so that printer7.attic.lan resolves to 10.20.30.40"

CONFIG = """\
# What the demo changes: less waiting for a file that is whole, and what suits one file and a
# model of four million parameters (docs/base-model.md has the trials).
[inbox]
stability_seconds = 0.5

[training]
learning_rate = 1e-3
lora_alpha = 64
lr_scheduler_type = "linear"
per_device_train_batch_size = 8
num_train_epochs = 2
"""


def main(argv: list[str] | None = None) -> int:
    """
    Run the demo; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="Drop a dataset into a real daemon and get a better model.",
        epilog="examples:\n  tools/demo\n  tools/demo --json | tail -n 1 | jq .promoted\n"
        "  tools/demo --keep     keep the root, to look around in it",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--keep", action="store_true", help="do not remove the throw-away root")
    parser.add_argument("--rows", type=int, default=2800, help="training rows (default 2800)")
    args = parser.parse_args(argv)

    console = Console(stderr=args.json)
    if not console.is_terminal:
        console = Console(stderr=args.json, width=120)
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="finetuned-demo-"))
    try:
        (root / "config.toml").write_text(CONFIG)
        (root / "inbox").mkdir()
        console.print(f"[bold]finetuned demo[/bold] on the throw-away root {root}")
        rows = training_rows(n=args.rows)
        with daemon(root, console) as process:
            drop(rows, root / "inbox", "infrastructure_commands.jsonl")
            console.print(f"dropped {len(rows)} rows into inbox/infrastructure_commands.jsonl")
            verdict = watch(root, process, console)
            if verdict is None:
                return 70
        result = compare(root, verdict, console)
        result["seconds_total"] = round(time.monotonic() - began, 1)
        console.print(f"\n{result['seconds_total']} seconds in all")
        if args.json:
            print(json.dumps(result))
        return 0 if result["promoted"] else 1
    finally:
        if args.keep:
            console.print(f"kept {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def daemon(root: Path, console: Console) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run the real daemon on *root*, and end it gracefully.
    """
    with (root / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetuned", "run", "--root", str(root)],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)
        else:
            console.print(f"[red]the daemon ended with {process.returncode}[/red]")
            console.print((root / "daemon.log").read_text()[-2000:])


def watch(root: Path, process: subprocess.Popen[bytes], console: Console) -> dict[str, Any] | None:
    """
    Show the daemon's status until a candidate was judged; None if that never came.
    """
    path, deadline = root / "status" / "training_status.json", time.monotonic() + TIME_LIMIT_SECONDS
    shown = ""
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while time.monotonic() < deadline and process.poll() is None:
            status = read_json(path)
            if status is not None:
                live.update(view(status))
                if not console.is_terminal and status["phase"] != shown:
                    shown = status["phase"]
                    console.print(f"{shown}: step {status['current_step']}")
                failed = status["queue"].get("failed") or status["queue"].get("quarantined")
                if status["last_verdict"] is not None:
                    console.print(view(status))
                    return dict(status["last_verdict"])
                if failed:
                    console.print(f"[red]failed: {status['error_message']}[/red]")
                    return None
            time.sleep(0.25)
    console.print("[red]no verdict was reached[/red]")
    return None


def view(status: dict[str, Any]) -> Panel:
    """
    Return the live picture of one status document.
    """
    numbers = Table.grid(padding=(0, 3))
    for _ in range(4):
        numbers.add_column()
    eta = status["eta_seconds"]
    numbers.add_row(
        f"phase [bold]{status['phase']}[/bold]",
        f"step [bold]{status['batch_step']}[/bold] / {status['batch_total_steps']}",
        f"loss [bold]{status['loss']:.4f}[/bold]",
        f"learning rate {status['learning_rate']:.1e}",
    )
    numbers.add_row(
        f"{status['tokens_per_second'] or 0:.0f} tokens/s",
        f"ETA {eta:.0f} s" if eta is not None else "ETA -",
        f"correct {status['total_correct']} of {status['total_evals']}",
        f"version {status['version'] or 'base model'}",
    )
    bar = ProgressBar(
        total=max(1, status["batch_total_steps"]), completed=status["batch_step"], width=60
    )
    line = Table.grid()  # a bar on its own ends without a line break
    line.add_row(bar)
    parts: list[Any] = [numbers, line]
    if status["recent_examples"]:
        last = status["recent_examples"][-1]
        colour = "green" if last["matches"] else "yellow"
        parts += [
            Text(f"prompt    {last['prompt']}", style="dim"),
            Text(f"expected  {last['golden']}"),
            Text(f"generated {last['model_output']}", style=colour),
        ]
    if status["waiting_reason"]:
        parts.append(Text(f"waiting: {status['waiting_reason']}", style="red"))
    return Panel(Group(*parts), title="training_status.json", width=100)


def compare(root: Path, verdict: dict[str, Any], console: Console) -> dict[str, Any]:
    """
    Print base against new version, answer one prompt, and return the figures.
    """
    version = root / "models" / "versions" / verdict["version"]
    manifest = read_json(version / "manifest.json") or {}
    before, after = (manifest["scores"][who]["new"] for who in ("incumbent", "candidate"))
    console.print(
        f"\nverdict: {'promoted' if verdict['promoted'] else 'rejected'}"
        f" {verdict['version']} ({verdict['reason']})\n"
    )
    table = Table(title="base model against new version")
    for column in ("rows", "n", "exact match, base", "exact match, new", "loss, base", "loss, new"):
        table.add_column(column, justify="left" if column == "rows" else "right")
    table.add_row(
        "held out by the daemon",
        str(after["n_asked"]),
        share(before["n_exact"], before["n_asked"]),
        share(after["n_exact"], after["n_asked"]),
        f"{before['loss']:.3f}",
        f"{after['loss']:.3f}",
    )
    benchmark = ask_benchmark(root, version, console)
    for split in ("entity_disjoint", "phrasing_disjoint"):
        base, new = benchmark["base"][split], benchmark["new"][split]
        table.add_row(
            f"infra_200, {split.replace('_', '-')}",
            str(new["n"]),
            share(base["exact"], base["n"]),
            share(new["exact"], new["n"]),
            f"{base['loss']:.3f}",
            f"{new['loss']:.3f}",
        )
    console.print(table)
    console.print(f"\n> {PROMPT}\n[bold]{benchmark['answer']}[/bold]")
    return {
        "promoted": verdict["promoted"],
        "exact_match_before": before["exact_match"],
        "exact_match_after": after["exact_match"],
        "n_heldout": after["n_asked"],
        "seconds_training": round(manifest["totals"]["seconds_steps"], 1),
        "seconds_total": 0.0,
        "version": verdict["version"],
        "infra_200": {who: benchmark[who] for who in ("base", "new")},
    }


def share(exact: int, n: int) -> str:
    """
    Return a proportion with its 95% interval, e.g. ``97% (97/100, 92-99)``.
    """
    low, high = wilson_interval(exact, n)
    return f"{100 * exact / n:.0f}% ({exact}/{n}, {100 * low:.0f}-{100 * high:.0f})"


def ask_benchmark(root: Path, version: Path, console: Console) -> dict[str, Any]:
    """
    Ask base and new version the 200 rows of the benchmark, and the new one PROMPT.
    """
    # transformers warns of its own renaming when peft asks for the old name.
    warnings.filterwarnings("ignore", category=FutureWarning)

    from finetuned.config import load_config
    from finetuned.data.examples import to_example
    from finetuned.data.render import Renderer
    from finetuned.files.base import find_base
    from finetuned.layout import Layout
    from finetuned.model.ask import Question, ask
    from finetuned.model.load import load_version

    config = load_config(root / "config.toml")
    base = find_base(Layout(root), config.model.base)
    renderer = Renderer.load(base, max_length=config.data.max_length)
    rows = [json.loads(line) for line in BENCHMARK.read_text().splitlines()]
    questions = []
    for i, row in enumerate(rows):
        example = to_example(row)
        questions.append(Question(str(i), example, "", "", renderer.golden(example)))
    splits = {str(i): row["metadata"]["split"] for i, row in enumerate(rows)}
    result: dict[str, Any] = {}
    prompt = to_example({"prompt": PROMPT, "completion": "?" * 120})
    for who, folder in (("base", None), ("new", version)):
        model = load_version(base, folder, config.model)
        with console.status(f"asking the {who} model {len(questions)} questions"):
            outcomes = list(
                ask(
                    model,
                    renderer,
                    questions,
                    max_new_tokens=config.evaluation.max_new_tokens,
                    batch_size=config.evaluation.batch_size,
                    deadline=time.monotonic() + 600,
                )
            )
        result[who] = {}
        for split in ("entity_disjoint", "phrasing_disjoint"):
            mine = [o for o in outcomes if splits[o.question.id] == split]
            result[who][split] = {
                "n": len(mine),
                "exact": sum(bool(o.matches) for o in mine),
                "loss": mean_loss([o.loss_sum for o in mine], [o.n_tokens for o in mine]),
            }
        if who == "new":
            answer = ask(
                model,
                renderer,
                [Question("prompt", prompt, "", PROMPT, "?" * 80)],
                max_new_tokens=config.evaluation.max_new_tokens,
                batch_size=1,
                deadline=time.monotonic() + 60,
            )
            result["answer"] = next(iter(answer)).answer
    return result


if __name__ == "__main__":
    raise SystemExit(main())
