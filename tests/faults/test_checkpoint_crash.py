"""
One checkpoint commit and its prune, killed or refused at every system call.

The law: whatever ended the writer, the newest checkpoint that loads is the old
one or the new one, whole; whatever the disk refused leaves as an OSError, which
costs a job nothing. Checked from the disk alone.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import ModelError
from finetuned.files.manifest import read_manifest
from support.kills import DONE, REFUSED, calls_in, needs_strace, traced

CALLS = (
    "openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir"
)
EVERY = int(os.environ.get("FINETUNED_KILL_EVERY", "1"))
"""Only each so many system calls is killed; 1 is all of them."""

OLDEST, OLD, NEW, NEXT = 9, 10, 11, 12  # a text sort would put 10 before 9
KEEP = 2


def training(step: int) -> tuple[dict[str, Any], Any]:
    """
    Return parameters and an optimizer that has made *step* small steps.
    """
    import torch

    torch.manual_seed(0)
    parameters = {f"layer.{i}": torch.nn.Parameter(torch.randn(4, 3)) for i in range(2)}
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=0.01)
    for _ in range(step):
        optimizer.zero_grad()
        sum((p**2).sum() for p in parameters.values()).backward()
        optimizer.step()
    return parameters, optimizer


def commit(folder: Path, step: int) -> None:
    """
    Do what a run does to save: write a checkpoint, then remove the oldest.
    """
    from finetuned.training.checkpoint import snapshot_state
    from finetuned.training.checkpoint_folder import commit_checkpoint
    from finetuned.training.progress import Progress

    parameters, optimizer = training(step)
    progress = Progress(step, step, "digest", {"tokens": 1.0})
    commit_checkpoint(folder, snapshot_state(parameters, optimizer, progress), keep=KEEP)


def steps_of(folder: Path) -> list[int]:
    """
    Return the steps of all checkpoints that are visible, each of them loaded.
    """
    from finetuned.training.checkpoint import load_checkpoint
    from finetuned.training.checkpoint_folder import list_checkpoints

    return [load_checkpoint(path).progress.job_step for path in list_checkpoints(folder)]


def newest_step(folder: Path) -> int | None:
    """
    Return the step that a resumed run would go on from.
    """
    from finetuned.training.checkpoint_folder import newest_loadable

    found = newest_loadable([folder])
    return None if found is None else found.progress.job_step


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A folder with two checkpoints; the next commit prunes the first of them.
    """
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pristine") / "checkpoints"
    for step in (OLDEST, OLD):
        commit(folder, step)
    assert [OLDEST, OLD] == steps_of(folder)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "checkpoints"))


def traced_commit(folder: Path, log: Path, *injections: str) -> int:
    """
    Commit NEW in a forked child under strace; return its exit status, minus a signal.
    """
    return traced(lambda: lambda: commit(folder, NEW), log, *injections, calls=CALLS)


@pytest.fixture(scope="module")
def calls(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """
    The system calls of one whole commit and prune, in order.
    """
    root = tmp_path_factory.mktemp("calls")
    folder = Path(shutil.copytree(pristine, root / "checkpoints"))
    assert DONE == traced_commit(folder, root / "log")
    assert [OLD, NEW] == steps_of(folder)
    found = calls_in(root / "log")
    assert {"openat", "write", "fsync", "mkdir", "rename", "rmdir"} <= {c for c, _ in found}
    return found


@needs_strace
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_checkpoint(
    pristine: Path, calls: list[tuple[str, int]], tmp_path: Path
) -> None:
    """
    SIGKILL as each call of save and prune is entered; then resume, and save again.
    """
    found: Counter[int | None] = Counter()
    for n, (call, ordinal) in enumerate(calls[::EVERY]):
        folder = tmp_path / str(n)
        shutil.copytree(pristine, folder)
        at = f"{call} {ordinal}"
        status = traced_commit(folder, tmp_path / "log", f"{call}:signal=SIGKILL:when={ordinal}")
        assert -signal.SIGKILL == status, at
        visible = steps_of(folder)  # loads each one: nothing half is visible
        assert newest_step(folder) in (OLD, NEW), at
        assert visible[-1] == newest_step(folder), at
        found[newest_step(folder)] += 1
        commit(folder, NEXT)
        assert NEXT == newest_step(folder), at
        assert KEEP == len(steps_of(folder)), at
        shutil.rmtree(folder)
    assert {OLD, NEW} == set(found)
    print(f"{found.total()} kills: {found[OLD]} found the old, {found[NEW]} the new checkpoint")


@needs_strace
@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("fsync", "ENOSPC"),
        ("fsync", "EIO"),
        ("mkdir", "ENOSPC"),
        ("rename", "EIO"),
        ("renameat", "ENOSPC"),
        ("openat", "EMFILE"),
    ],
)
def test_what_the_disk_refuses_is_an_oserror_and_earlier_checkpoints_stand(
    pristine: Path, calls: list[tuple[str, int]], tmp_path: Path, call: str, code: str
) -> None:
    """
    Each write, sync, rename and open is once the one that fails; nothing half is left.
    """
    before = tree(pristine)
    ordinals = [n for c, n in calls if c == call]
    assert ordinals
    for ordinal in ordinals[::EVERY]:
        folder = tmp_path / str(ordinal)
        shutil.copytree(pristine, folder)
        at = f"{call} {ordinal}"
        status = traced_commit(folder, tmp_path / "log", f"{call}:error={code}:when={ordinal}")
        visible = steps_of(folder)
        after = tree(folder)
        assert [] == [p.name for p in folder.iterdir() if p.name.startswith(".building")], at
        assert REFUSED == status or (status == DONE and visible[-1] == NEW), at
        if NEW in visible:  # refused after the rename: what was pruned was pruned lawfully
            assert OLD in visible, at
            before = {name: data for name, data in before.items() if str(OLDEST) not in name}
            after = {name: data for name, data in after.items() if name in before}
        assert before == after, at
        before = tree(pristine)
        commit(folder, NEXT)
        assert NEXT == newest_step(folder), at
        shutil.rmtree(folder)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


FILES = (
    "weights.safetensors",
    "optimizer.safetensors",
    "rng.safetensors",
    "state.json",
    "manifest.json",
)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [flip_a_bit, cut_in_half, overwrite_with_zeros, Path.unlink])
def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(
    folder: Path, name: str, damage: Callable[[Path], None]
) -> None:
    """
    A bit flip, a cut, zeros or a missing file: found by hash, before anything is loaded.
    """
    from finetuned.training.checkpoint_folder import list_checkpoints, prune_checkpoints

    newest = list_checkpoints(folder)[-1]
    assert set(FILES) == {*read_manifest(newest)["files"], "manifest.json"}
    damage(newest / name)
    assert OLDEST == newest_step(folder)
    with pytest.raises(ModelError):  # and the good one is never pruned for the bad one
        prune_checkpoints(folder, 1)
    assert OLDEST == newest_step(folder)
