"""
Which root a command works on, and as which user.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from finetuned.files.shipped import checkout
from finetuned.layout import Layout

VARIABLE = "FINETUNED_ROOT"
"""Environment variable that names the root of commands that are given none."""

NO_ROOT = (
    f"which folder? Pass --root DIR (finetuned run makes it), or set ${VARIABLE}, or change into "
    "a folder that has an inbox/ and a models/"
)


def default_root() -> Path | None:
    """
    Return the root of a command that is given no ``--root``, None if there is no telling.

    It is $FINETUNED_ROOT; else the checkout that the program runs from; else the current
    directory if that is a root already.
    """
    if named := os.environ.get(VARIABLE, "").strip():
        return Path(named)
    if (top := checkout()) is not None:
        return top
    here = Layout(Path.cwd())
    return here.root if here.inbox.is_dir() and here.models.is_dir() else None


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
