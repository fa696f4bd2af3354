"""
Draw the figures of experiments/replay_experiment.py: one panel per task, one line per arm.

    $ python -m experiments.replay_picture build/replay.json docs/measurements/replay.svg
    docs/measurements/replay.svg

Each line begins where the task's own file was trained and shows what later files leave
of it. An arm of one job for all files is a dashed line. Plain SVG, so that it needs
nothing beside the standard library.

Exit status: 0 drawn, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, GAP = 240, 130, 40, 60, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Told apart by people who see no red or green (Okabe and Ito, 2008)."""
COLUMNS = 3


def picture(report: dict[str, Any]) -> Iterator[str]:
    """
    Yield the lines of the SVG file.

    Args:
        report: What replay_experiment wrote; 2 tasks or more.
    """
    tasks, arms = report["tasks"], report["arms"]
    rows = -(-len(tasks) // COLUMNS)
    width = LEFT + COLUMNS * (WIDTH + GAP)
    height = TOP + rows * (HEIGHT + 2 * GAP)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12" fill="#333">'
    )
    yield f'<rect width="{width}" height="{height}" fill="white"/>'
    yield f'<text x="{LEFT}" y="20">Exact match on held-out rows, in %, after each file</text>'
    for k, (arm, colour) in enumerate(zip(arms, COLOURS, strict=False)):
        x = LEFT + 110 * k
        yield f'<line x1="{x}" y1="36" x2="{x + 20}" y2="36" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 26}" y="40">{arm["name"]}</text>'
    for j, task in enumerate(tasks):
        x, y = LEFT + j % COLUMNS * (WIDTH + GAP), TOP + j // COLUMNS * (HEIGHT + 2 * GAP)
        yield f'<g transform="translate({x} {y + 20})"><text x="0" y="-6">{task}</text>'
        yield from _axes(tasks)
        for arm, colour in zip(arms, COLOURS, strict=False):
            values = [row[j] for row in arm["matrix"]]
            yield from _level(values[0], colour) if len(values) == 1 else _line(values, j, colour)
        yield "</g>"
    yield "</svg>"


def _axes(tasks: list[str]) -> Iterator[str]:
    for share in (0, 50, 100):
        y = HEIGHT * (100 - share) // 100
        yield f'<line x1="0" y1="{y}" x2="{WIDTH}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="-6" y="{y + 4}" text-anchor="end" font-size="10">{share}</text>'
    for i, task in enumerate(tasks):
        x = _x(i, len(tasks))
        yield f'<text x="{x}" y="{HEIGHT + 14}" text-anchor="middle" font-size="8">{task}</text>'


def _line(values: list[float | None], first: int, colour: str) -> Iterator[str]:
    points = [(_x(i, len(values)), HEIGHT * (1 - v)) for i, v in enumerate(values) if v is not None]
    known = [(x, y) for x, y in points if x >= _x(first, len(values))]
    path = " ".join(f"{x:.0f},{y:.1f}" for x, y in known)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in known:
        yield f'<circle cx="{x:.0f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'


def _level(value: float, colour: str) -> Iterator[str]:
    y = round(HEIGHT * (1 - value), 1)
    yield (
        f'<line x1="0" y1="{y}" x2="{WIDTH}" y2="{y}" stroke="{colour}" stroke-width="1.5" '
        'stroke-dasharray="5 4"/>'
    )


def _x(i: int, n: int) -> float:
    return round(16 + i * (WIDTH - 32) / (n - 1), 1)


def main(argv: list[str] | None = None) -> int:
    """
    Draw the picture; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.replay_picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("report", type=Path, help="JSON that replay_experiment.py wrote")
    parser.add_argument("picture", type=Path, help="SVG file to write")
    args = parser.parse_args(argv)
    args.picture.write_text("\n".join(picture(json.loads(args.report.read_bytes()))) + "\n")
    print(args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
