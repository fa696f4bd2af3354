"""
The checkpoints of a run as files: listed, the newest one found, the oldest ones removed.

Does not know what is in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetuned.errors import ModelError
from finetuned.files.atomic import remove_tree
from finetuned.training.checkpoint import (
    PREFIX,
    Checkpoint,
    Snapshot,
    load_checkpoint,
    write_checkpoint,
)


def step_of(path: Path) -> int:
    """
    Return the job step of the checkpoint in *path*, read from its name.
    """
    return int(path.name.removeprefix(PREFIX))


def list_checkpoints(folder: Path) -> list[Path]:
    """
    Return the checkpoints in *folder*, lowest step first (9 before 10).
    """
    if not folder.is_dir():
        return []
    found = [
        p
        for p in folder.iterdir()
        if p.name.startswith(PREFIX) and p.name.removeprefix(PREFIX).isdigit()
    ]
    return sorted(found, key=step_of)


def newest_loadable(folders: Sequence[Path], plan_digest: str | None = None) -> Checkpoint | None:
    """
    Return the checkpoint with the highest step that loads, of all runs of one job.

    Args:
        folders: ``checkpoints/`` of each run.
        plan_digest: Ignore checkpoints of another plan; None takes those of any plan.

    Returns:
        None if no checkpoint loads; a damaged one is passed over for the one before it.
    """
    paths = [path for folder in folders for path in list_checkpoints(folder)]
    for path in sorted(paths, key=step_of, reverse=True):
        try:
            found = load_checkpoint(path)
        except (ModelError, OSError, ValueError):
            continue
        if plan_digest in (None, found.progress.plan_digest):
            return found
    return None


def commit_checkpoint(folder: Path, snapshot: Snapshot, *, keep: int) -> Path:
    """
    Write a checkpoint into *folder*; if it is new there, remove all but the *keep* newest.

    Returns:
        The finished checkpoint.

    Raises:
        OSError: As write_checkpoint.
        ModelError: As prune_checkpoints.
    """
    known = list_checkpoints(folder)
    path = write_checkpoint(folder, snapshot)
    if path not in known:
        prune_checkpoints(folder, keep)
    return path


def prune_checkpoints(folder: Path, keep: int) -> list[Path]:
    """
    Remove all but the *keep* newest checkpoints, after loading the newest.

    Args:
        folder: ``checkpoints/`` of the run.
        keep: Checkpoints to leave, >= 1.

    Returns:
        The removed checkpoints.

    Raises:
        ModelError: The newest checkpoint does not load; nothing was removed.
    """
    paths = list_checkpoints(folder)
    doomed = paths[:-keep]
    if not doomed:
        return []
    load_checkpoint(paths[-1])
    for path in doomed:
        remove_tree(path)
    return doomed
