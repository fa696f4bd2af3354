"""
The environment variables that a child process of the supervisor is given.

Every child is found by the same interpreter in the same package as its parent,
installed or not. Does not know what the child does.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetuned.process import notify

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def child_environment(**extra: str) -> dict[str, str]:
    """
    Return this process's environment as a child gets it, with *extra* added.

    PYTHONPATH begins with the folder that holds this package, so that
    ``python -m finetuned...`` finds it from any working directory. The variables
    of sd_notify are left out: only the supervisor speaks to systemd.

    Args:
        extra: Variables of this child, by name; they replace inherited ones.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in notify.VARIABLES
    }
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(_PACKAGE_PARENT), inherited) if p)
    return {**environment, **extra}
