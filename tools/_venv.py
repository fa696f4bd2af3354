"""
Let ``tools/NAME.py`` run from a checkout, whatever python3 is on PATH.

A tool that has the name of a verb is a launcher: ``sys.exit(_venv.launch("verb"))``. Any other
tool calls ``_venv.activate()`` before it imports anything of finetuned or its dependencies.

Knows where bootstrap puts the virtual environment.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PYTHON = CHECKOUT / ".venv" / "bin" / "python"


def activate() -> None:
    """
    Go on in the checkout's virtual environment, unless finetuned can be imported here.

    Replaces the process (exec), so the tool starts again from its first line;
    arguments, streams and the exit status are the new process's.

    Raises:
        SystemExit: There is no virtual environment yet; the message says how to
            make one. Exit status 78.
    """
    # structlog stands for all the dependencies: a bare python3 with
    # PYTHONPATH=daemon finds finetuned and none of them.
    if all(importlib.util.find_spec(name) for name in ("finetuned", "structlog")):
        return
    if not PYTHON.exists() or Path(sys.prefix).resolve() == PYTHON.parents[1].resolve():
        print(
            f"finetuned is not installed ({PYTHON} is missing or incomplete).\n"
            "Run tools/bootstrap first: it makes .venv and installs everything.",
            file=sys.stderr,
        )
        raise SystemExit(78)
    os.execv(PYTHON, [str(PYTHON), *sys.argv])  # noqa: S606  no shell is wanted here


def launch(*words: str) -> int:
    """
    Run ``finetuned WORDS`` with this process's arguments, and return its exit status.
    """
    activate()
    from finetuned.cli.program import run_process

    return run_process(*words)
