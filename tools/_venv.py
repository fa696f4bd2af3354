"""
Let a tool run as ``tools/x.py`` from a checkout, whatever python3 is on PATH.

First lines of every tool:

    import _venv

    _venv.activate()

Knows where bootstrap puts the virtual environment; imports nothing of ours.
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


def become_owner(root: Path) -> None:
    """
    Write as the user the root belongs to, so that root leaves no file the daemon cannot replace.
    """
    owner = root.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
