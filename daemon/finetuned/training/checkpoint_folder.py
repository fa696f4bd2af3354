"""
The checkpoints of a run: which there are, which one to go on from, which ones go.

Does not know what is in a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.errors import ModelError
from finetuned.files.atomic import remove_tree
from finetuned.training.checkpoint import PREFIX, Checkpoint, load_checkpoint


def list_checkpoints(folder: Path) -> list[Path]:
    """
    Return the checkpoints in *folder* by step, as numbers and not as text.
    """
    if not folder.is_dir():
        return []
    found = [
        (int(p.name.removeprefix(PREFIX)), p)
        for p in folder.iterdir()
        if p.name.startswith(PREFIX) and p.name.removeprefix(PREFIX).isdigit()
    ]
    return [path for _, path in sorted(found)]


def newest_loadable(folders: list[Path], plan_digest: str | None = None) -> Checkpoint | None:
    """
    Return the checkpoint with the highest step that loads, over several runs of one job.

    A corrupt one is passed over for the one before it.

    Args:
        folders: ``checkpoints/`` of each run.
        plan_digest: Pass over those of another plan; None takes any.
    """
    paths = sorted(
        (path for folder in folders for path in list_checkpoints(folder)),
        key=lambda p: int(p.name.removeprefix(PREFIX)),
        reverse=True,
    )
    for path in paths:
        try:
            found = load_checkpoint(path)
        except (ModelError, OSError, ValueError):
            continue
        if plan_digest in (None, found.progress.plan_digest):
            return found
    return None


def prune_checkpoints(folder: Path, keep: int) -> list[Path]:
    """
    Remove all but the *keep* newest checkpoints, after loading the newest.

    Returns:
        What was removed; nothing when the newest does not load.
    """
    paths = list_checkpoints(folder)
    doomed = paths[:-keep]
    if not doomed:
        return []
    load_checkpoint(paths[-1])
    for path in doomed:
        remove_tree(path)
    return doomed
