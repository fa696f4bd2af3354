"""
What the demo prints of a report: scores with their intervals, and the figures of --json.
"""

from __future__ import annotations

import json
from typing import Any

from _code import CHECKOUT
from rich.table import Table

from finetuned.core.metrics import wilson_interval

BENCHMARK = CHECKOUT / "benchmarks" / "infra_200.jsonl"


def suites_table(report: dict[str, Any]) -> Table:
    """
    Return base, release (incumbent in the report) and candidate on every suite.
    """
    table = Table(title="right answers, with 95% intervals")
    for column in ("suite", "base", "release", "candidate", "loss, base", "loss, candidate"):
        table.add_column(column, justify="left" if column == "suite" else "right")
    for suite in report["suites"]:
        found = {
            who: subject["suites"].get(suite["name"]) for who, subject in report["subjects"].items()
        }
        table.add_row(
            suite["title"],
            *(share(found[who]) for who in ("base", "incumbent", "candidate")),
            *(f"{found[who]['loss']:.3f}" for who in ("base", "candidate")),
        )
    return table


def share(score: dict[str, Any] | None) -> str:
    """
    Return a proportion with its 95% interval, e.g. ``97% (97/100, 92-99)``.
    """
    if score is None or not score["n_asked"]:
        return "-"
    right, n = score["n_correct"], score["n_asked"]
    low, high = wilson_interval(right, n)
    return f"{100 * right / n:.0f}% ({right}/{n}, {100 * low:.0f}-{100 * high:.0f})"


def share_of(counts: dict[str, Any] | None) -> float | None:
    """
    Return right answers as a share of those asked.
    """
    if counts is None or not counts["n_asked"]:
        return None
    return float(counts["n_correct"] / counts["n_asked"])


def splits(report: dict[str, Any]) -> dict[str, dict[str, dict[str, int]]]:
    """
    Return what was right and what was asked of each half of the infrastructure test set, per
    subject.

    On a slow machine an evaluation asks a sample: see evaluation.max_training_share.
    """
    rows = [json.loads(line) for line in BENCHMARK.read_text().splitlines()]
    half_of = {str(i): row["metadata"]["split"] for i, row in enumerate(rows, start=1)}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for item in report["items"]:
        if item["suite"] == BENCHMARK.stem:
            for who, outcome in item["outcomes"].items():
                halves = found.setdefault(
                    who, {half: {"right": 0, "asked": 0} for half in sorted(set(half_of.values()))}
                )
                half = halves[half_of[item["id"]]]
                half["right"] += bool(outcome["correct"])
                half["asked"] += 1
    return found
