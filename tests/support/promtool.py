"""
Prometheus' own checker of rules and queries, where there is one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"

_METRIC = re.compile(r"\b(?:finetuned|http|process)_[a-z0-9_]+\b")
_TEXT = re.compile(r'"[^"]*"')


def promtool() -> str:
    """
    Return the path of promtool; skips the test if there is none.
    """
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus; or set PROMTOOL to its path)")
    return found


def run_promtool(*arguments: str, stdin: str = "") -> None:
    """
    Run promtool, and fail with what it prints if it finds something wrong.
    """
    command = [promtool(), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
    assert 0 == done.returncode, done.stdout + done.stderr


def write_yaml(path: Path, value: dict[str, Any]) -> Path:
    """
    Write *value* as JSON, which is YAML too.
    """
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
    return path


def metrics_in(query: str) -> set[str]:
    """
    Return the names of our metrics in a query; label values do not count.
    """
    return set(_METRIC.findall(_TEXT.sub('""', query)))
