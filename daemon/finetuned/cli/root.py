"""
Which root a command works on, and as which user.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def default_root() -> Path:
    """
    Return the root of a command that is given no ``--root``.
    """
    return CHECKOUT


def root_folder(text: str) -> Path:
    """
    Return the folder that ``--root`` names.

    Raises:
        argparse.ArgumentTypeError: The argument is empty, as ``--root "$UNSET"`` is. An empty
            path would mean the current directory.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(
            "the name of the folder is empty; for the current directory write --root ."
        )
    return Path(text)


def become_owner(root: Path) -> None:
    """
    Continue as the user that *root* belongs to, if the process runs as the superuser.

    Otherwise ``sudo finetuned ...`` would leave files that the daemon cannot replace.
    """
    owner = root.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
