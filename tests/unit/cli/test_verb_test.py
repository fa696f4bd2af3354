"""
``finetuned test`` and its kin: what is known before a model is needed is said at once.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.cli.program import main

PACKAGE_PARENT = Path(__file__).resolve().parents[3] / "daemon"

CODE = """
import sys
from finetuned.cli.program import main
status = main(sys.argv[1:])
heavy = {"torch", "transformers", "peft"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else status)
"""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["test"], "no version is in use yet"),
        (["ask", "hi"], "no version is in use yet"),
        (["ask", "--model", "v0009", "hi"], "no version v0009"),
        (["chat", "--model", "gone"], "base model 'gone' not found"),
        (["test", "--model", "v0009"], "no version v0009"),
        (["test", "--model", "gone"], "base model 'gone' not found"),
        (["test", "--model", "micro"], "no suite in"),
        (["canary", "run"], "no version is in use yet"),
        (["compare", "--model-a", "v0001", "--model-b", "micro", "--test-set", "x"], "no version"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_name_is_said_before_anything_heavy_is_loaded(
    args: list[str], said: str, tmp_path: Path
) -> None:
    """
    torch takes seconds to load, and a person waits for one sentence.
    """
    found = subprocess.run(
        [sys.executable, "-c", CODE, *args, "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(PACKAGE_PARENT)},
    )

    assert said in found.stderr
    assert (1, "") == (found.returncode, found.stdout)
    assert f"finetuned {args[0]}: " in found.stderr
    assert "loaded" not in found.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "args",
    [
        ["test", "--limit", "0"],
        ["test", "--harness", "x", "--suite", "y"],
        ["test", "--harness", "x", "--export-harness", "d"],
        ["test", "--harness-path", "d"],
        ["test", "--output", ""],
        ["compare", "--model-a", "a"],
        ["compare", "--model-a", "a", "--model-b", "b", "--test-set", "c", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_arguments_that_do_not_fit_together_are_wrong_usage(
    args: list[str], tmp_path: Path
) -> None:
    """
    A script can tell a typing error from a model that fails.
    """
    with pytest.raises(SystemExit) as ended:
        main([*args, "--root", str(tmp_path)])

    assert 2 == ended.value.code
    assert [] == list(tmp_path.iterdir())
