#!/usr/bin/env python3
"""
The demonstration behind tools/demo: a real daemon, a real file, a better model.

    $ tools/demo --json

Starts the daemon on a throw-away root, drops the infrastructure commands into
its inbox, shows it at work, and once a candidate was judged shows what the gate
saw: base, incumbent and candidate on the daemon's own held-out rows, on the canaries
and on benchmarks/infra_200.jsonl, which no training row shares a phrasing or name with.
Then the model is asked a question by finetuned serve, which also shows the live page.

Exit status: 0 a version was promoted, 1 it was not, 70 the daemon or the service ended early.
"""

from __future__ import annotations

import _venv

_venv.activate()

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from _code import CHECKOUT
from _demo_tables import BENCHMARK, share_of, splits, suites_table
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finetuned.core.evidence import together
from finetuned.files.run import read_json
from finetuned.layout import Layout
from finetuned.serving.client.find import RunningService, find_service
from finetuned.sources.intents import drop, training_rows

CANARIES = CHECKOUT / "benchmarks" / "examples" / "canaries.jsonl"
TIME_LIMIT_SECONDS = 900.0
SERVICE_SECONDS = 60.0
FINETUNED = (sys.executable, "-m", "finetuned")
PROMPT = "Please create a DNS record so that printer7.attic.lan resolves to 10.20.30.40"

CONFIG = """\
# What the demo changes: less waiting for a file that is whole, and what suits one file and a
# model of four million parameters (docs/measurements/base-model.md has the trials).
[inbox]
stability_seconds = 0.5

[training]
learning_rate = 1e-3
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
        (root / "benchmarks").mkdir()
        for suite in (BENCHMARK, CANARIES):
            shutil.copy(suite, root / "benchmarks")
        console.print(f"[bold]finetuned demo[/bold] on the throw-away root {root}")
        rows = training_rows(n=args.rows)
        with daemon(root, console) as process:
            drop(rows, root / "inbox", "infrastructure_commands.jsonl")
            console.print(f"dropped {len(rows)} rows into inbox/infrastructure_commands.jsonl")
            verdict = watch(root, process, console)
            if verdict is None:
                return 70
            result = compare(root, verdict, console)
            with service(root, console) as found:
                if found is None:
                    return 70
                result["answer"] = ask(root, console)
                result["seconds_total"] = round(time.monotonic() - began, 1)
                console.print(f"\n{result['seconds_total']} seconds in all")
                show_page(root, found, console, wait=not args.json and sys.stdin.isatty())
        if args.json:
            print(json.dumps(result))
        return 0 if result["promoted"] else 1
    finally:
        if args.keep:
            console.print(f"kept {root}; serve it again with finetuned serve --root {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def daemon(root: Path, console: Console) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run the real daemon on *root*, and end it gracefully.
    """
    with (root / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [*FINETUNED, "run", "--root", str(root)],
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
                if status["last_verdict"]["promoted"] is not None:
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
    Print what the gate saw, and return the figures.
    """
    version = root / "models" / "versions" / verdict["version"]
    manifest = read_json(version / "manifest.json") or {}
    report = read_json(version / "eval_report.json") or {}
    console.print(f"\nverdict: {verdict['outcome']} {verdict['version']} ({verdict['reason']})\n")
    console.print(suites_table(report))
    rules = Table(title="what the gate asked")
    for column in ("rule", "held", "seen"):
        rules.add_column(column)
    for rule in report["verdict"]["rules"]:
        rules.add_row(rule["name"], "yes" if rule["passed"] else "NO", rule["detail"])
    console.print(rules)
    before, after = (together(report, who, "new") for who in ("base", "candidate"))
    return {
        "promoted": verdict["promoted"],
        "exact_match_before": share_of(before),
        "exact_match_after": share_of(after),
        "n_heldout": after["n_asked"] if after else 0,
        "seconds_training": round(manifest["totals"]["seconds_steps"], 1),
        "seconds_evaluation": round(
            sum(s["seconds"] + s["load_seconds"] for s in report["subjects"].values()), 1
        ),
        "seconds_total": 0.0,
        "version": verdict["version"],
        "infra_200": splits(report),
    }


@contextmanager
def service(root: Path, console: Console) -> Iterator[RunningService | None]:
    """
    Run the real service on *root* and a free port until it holds the version in use, and end it
    gracefully; None if it ends early.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (root / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*FINETUNED, "serve", "--root", str(root), "--port", str(port), "--chat-port", "0"],
            stdout=log,
            stderr=log,
        )
    deadline, found = time.monotonic() + SERVICE_SECONDS, None
    try:
        with console.status("starting finetuned serve"):
            while time.monotonic() < deadline and process.poll() is None:
                found = find_service(Layout(root))
                if found is not None and found.held:
                    break
                time.sleep(0.05)
        if found is None or not found.held:
            console.print("[red]the service did not start[/red]")
            console.print((root / "serve.log").read_text()[-2000:])
            found = None
        yield found
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=90)


def ask(root: Path, console: Console) -> str:
    """
    Return what the version in use answers to PROMPT, asked as a person would.
    """
    began = time.monotonic()
    done = subprocess.run(
        [*FINETUNED, "ask", "--root", str(root), PROMPT], capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - began
    answer = done.stdout.strip()
    console.print(f'\n$ finetuned ask "{PROMPT}"', highlight=False, soft_wrap=True)
    console.print(Text(answer, style="bold"), soft_wrap=True)
    console.print(f"answered in {seconds:.2f} s, the command's own start included")
    return answer


def show_page(root: Path, found: RunningService, console: Console, *, wait: bool) -> None:
    """
    Say where the live page is; with *wait* it stays until Enter is pressed.
    """
    made = subprocess.run(
        [*FINETUNED, "keys", "create", "page", "--scope", "admin", "--root", str(root), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    key = json.loads(made.stdout)["key"]
    console.print(f"\nlive page: {found.url}/  (any user name, password {key})", soft_wrap=True)
    if wait:
        console.print("It is there until you press Enter.")
        with suppress(EOFError, KeyboardInterrupt):
            input()
    else:
        console.print("It ends with the demo; tools/demo in a terminal waits for Enter.")


if __name__ == "__main__":
    raise SystemExit(main())
