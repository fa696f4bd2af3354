"""
tools/NAME.py is the verb, from a checkout: nothing is in it but the verb's name.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"
LAUNCHERS = {
    "versions": ("versions",),
    "canary": ("canary",),
    "test_runner": ("test",),
    "test_model": ("ask",),
    "compare_models": ("compare",),
    "report": ("report",),
    "analyze_learning": ("curves",),
    "config": ("config",),
    "tune_hyperparams": ("tune",),
    "make_intents": ("make", "intents"),
    "make_syllo": ("make", "syllo"),
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_is_the_verb(name: str) -> None:
    """
    Same output and exit status, for help and for wrong usage.
    """
    env = os.environ | {"PYTHONPATH": str(TOOLS.parent / "daemon")}
    for args in (["--help"], ["--no-such-option"]):
        found = [
            subprocess.run(
                [sys.executable, *argv, *args], capture_output=True, check=False, env=env
            )
            for argv in ([TOOLS / f"{name}.py"], ["-m", "finetuned", *LAUNCHERS[name]])
        ]
        launched, verb = ((p.returncode, p.stdout, p.stderr) for p in found)
        assert verb == launched


def test_no_logic_is_in_tools() -> None:
    """
    What is not installed cannot be used on an installed system, so launchers define nothing.
    """
    for name in LAUNCHERS:
        path = TOOLS / f"{name}.py"
        assert path.stat().st_mode & 0o111, path
        found = [type(node) for node in ast.parse(path.read_text()).body]
        assert [ast.Expr, ast.Import, ast.Import, ast.If] == found, path


def test_executable_files_have_a_shebang() -> None:
    """
    Otherwise a shell runs Python, or Python a shell's words.
    """
    for folder in (TOOLS, TOOLS.parent / "experiments"):
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_mode & 0o111:
                assert path.read_bytes().startswith(b"#!/usr/bin/env "), path
