"""
The files of this checkout, and their copy in the folder that the service runs them from.

Needs nothing but Python's standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

KEPT = {".venv", "__pycache__", "finetuned.egg-info"}
"""Made on the spot in the prefix, not part of what is copied."""


def source_files() -> list[Path]:
    """
    Return the checkout's tracked files, relative; without git, what such a checkout holds.
    """
    if (CHECKOUT / ".git").exists() and shutil.which("git"):
        # safe.directory: root may install from a checkout that is somebody else's.
        argv = ["git", "-c", "safe.directory=*", "-C", str(CHECKOUT), "ls-files", "-z"]
        out = subprocess.run(argv, check=True, capture_output=True).stdout
        found = [Path(os.fsdecode(name)) for name in out.split(b"\0") if name]
    else:
        tops = ("benchmarks", "daemon", "docs", "experiments", "models/base", "systemd")
        tops = (*tops, "tests", "tools")
        walked = [p for top in tops for p in (CHECKOUT / top).rglob("*")]
        found = [p.relative_to(CHECKOUT) for p in [*CHECKOUT.iterdir(), *walked]]
        # .git is a file in a worktree.
        found = [p for p in found if p.name not in ("config.toml", ".git") and p.suffix != ".pyc"]
    return sorted(p for p in found if (CHECKOUT / p).is_file() and not KEPT & set(p.parts))


def copy_code(prefix: Path) -> None:
    """
    Make *prefix* hold the checkout's files and no others, .venv apart.
    """
    files = source_files()
    for relative in files:
        target = prefix / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")  # a running service keeps what it opened
        shutil.copyfile(CHECKOUT / relative, new)
        new.chmod(0o755 if os.access(CHECKOUT / relative, os.X_OK) else 0o644)
        os.replace(new, target)
    wanted = {prefix / relative for relative in files}
    for path in sorted(prefix.rglob("*"), reverse=True):
        if KEPT & set(path.relative_to(prefix).parts):
            continue
        if path.is_file() or path.is_symlink():
            if path not in wanted:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
