"""
``finetuned tune`` as a process of its own, on a root with the tiny base model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.daemon import PACKAGE_PARENT

SPACE = ("--search", "learning_rate=1e-4..3e-2", "--search", "per_device_train_batch_size=2,4")


@contextmanager
def searching(root: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """
    A search in *root* while the block runs.
    """
    process = _start(root, *arguments)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    # Of the lowest priority it would hardly move beside the other tests.
    command = [sys.executable, "-m", "finetuned", "tune", "--root", str(root), *arguments]
    command.append("--normal-priority")
    path = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH"), str(PACKAGE_PARENT)) if p)
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def tune(root: Path, *arguments: str, seconds: float = 300) -> tuple[int, dict[str, Any], str]:
    """
    Run a search with --json; return its exit status, what it printed, and what it complained.
    """
    with searching(root, "--json", *arguments) as process:
        output, errors = process.communicate(timeout=seconds)
    return process.returncode, json.loads(output) if output.strip() else {}, errors


def wait_until(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    """
    Return once *condition* holds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def steps_of(run: Path) -> list[dict[str, Any]]:
    """
    Return the steps that a run has recorded.
    """
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]
