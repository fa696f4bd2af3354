"""
The keys of config.toml as tables, read from the commented default that finetuned prints.
"""

from __future__ import annotations

import subprocess
import sys

from experiments.pages.table import table
from experiments.pages.tree import CHECKOUT


def settings() -> str:
    """
    Return one table for each section: key, default, meaning.
    """
    printed = subprocess.run(
        [sys.executable, str(CHECKOUT / "tools" / "config.py")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sections: dict[str, list[tuple[str, str, str]]] = {}
    section = ""
    comment: list[str] = []
    for line in printed.splitlines():
        if line.startswith("["):
            section, comment = line.strip("[]"), []
            sections[section] = []
        elif line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif " = " in line:
            key, _, default = line.partition(" = ")
            sections[section].append((f"`{section}.{key}`", f"`{default}`", " ".join(comment)))
            comment = []
    return "\n".join(
        f"## {name}\n\n{table(('key', 'default', 'meaning'), rows)}"
        for name, rows in sections.items()
    )
