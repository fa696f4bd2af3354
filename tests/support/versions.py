"""
Versions on disk for tests that need no training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetuned.layout import Layout
from finetuned.registry.commit import commit_version
from finetuned.registry.versions import list_versions
from support.candidates import make_candidate


def commit(layout: Layout, parent: str | None = None, *, full: bool = False, **facts: Any) -> str:
    """
    Commit a version made on *parent*, on base model micro; return its name.
    """
    run_id = f"r{len(list_versions(layout)) + 1:06d}"
    folder = make_candidate(layout.runs / run_id / "candidate", full=full)
    found = {"run_id": run_id, "parent": parent, "base": "micro", "verdict": "promoted", **facts}
    return commit_version(layout, folder, found)


def damage(folder: Path, name: str = "adapter_model.safetensors") -> None:
    """
    Flip the last two bytes of a file of a version.
    """
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(data[:-2] + b"??")
