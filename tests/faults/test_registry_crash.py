"""
The registry under SIGKILL: at random moments, and at every step of every commit.

The law is one sentence: once a version was promoted, current_model always
names a complete, verified version, and whatever was interrupted can be done
again. Checked from the disk alone.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from registry_actions import act

from finetuned.layout import Layout
from finetuned.registry.backup import backup, last_verified_backup
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.folder import read_sealed, verify_folder
from finetuned.registry.head import linked_head, move_head
from finetuned.registry.numbers import next_number
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import list_versions, verify_version, version_names
from support.candidates import make_candidate
from support.kills import DONE, calls_in, kill_before, needs_strace, traced

STEPS = "rename,?renameat,?renameat2,fsync,unlink,?unlinkat,symlink,?symlinkat,?rmdir"
CHILD = Path(__file__).with_name("registry_actions.py")


def candidate(folder: Path) -> Path:
    """
    What a worker leaves; small, since each file costs a system call and a kill.
    """
    make_candidate(folder)
    return folder


@pytest.fixture
def root(tmp_path):
    """
    v0001 <- v0002 (in use) and an unused v0003, with backups of the first two.
    """
    layout = Layout(tmp_path / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for run_id, parent in (("r-1", None), ("r-2", "v0001"), ("r-3", "v0001")):
        commit_version(
            layout, candidate(layout.runs / run_id), {"run_id": run_id, "parent": parent}
        )
    promote(layout, "v0001")
    promote(layout, "v0002")
    backup(layout, "v0001")
    candidate(layout.runs / "r-new")
    return layout.root


def damage(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.unlink()
    path.write_text("damaged")


def prepare(root: Path, action: str) -> None:
    """
    Break what the action is there to mend.
    """
    layout = Layout(root)
    match action:
        case "restore":
            shutil.rmtree(layout.versions / "v0001")
        case "restore-incumbent":
            backup(layout, "v0002")
            damage(layout.versions / "v0002")
        case "move-head" | "leave-head":
            move_head(layout, "v0002")
        case "delete-backup":
            backup(layout, "v0003")
        case "empty-trash":
            (layout.versions / "v0003").rename(layout.trash / "v0003-20261120T000000Z")
        case "empty-trash-of-copies":
            shutil.copytree(layout.versions / "v0003", layout.trash / "v0003-20261120T000000Z")


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    "PYTHONDONTWRITEBYTECODE": "1",  # its system calls are not the registry's
}


def check(root: Path, *, damaged: str | None = None) -> None:
    """
    Hold the law: the link resolves, and every listed version is whole.
    """
    layout = Layout(root)
    name = incumbent(layout)
    assert name is not None
    assert (layout.current_model / "manifest.json").is_file()
    linked_head(layout)  # no link, or one to a version that is there
    for version in list_versions(layout):
        if version != damaged:
            verify_version(layout, version)
    assert 4 <= next_number(layout)  # v0003 is never used twice, whatever became of it
    backups = [p for p in layout.backups.iterdir() if not p.name.startswith(".")]
    assert not backups or last_verified_backup(layout) is not None


OUTCOMES = {
    "commit": lambda layout: "v0004" == list_versions(layout)[-1],
    "promote": lambda layout: "v0003" == incumbent(layout),
    "rollback": lambda layout: "v0001" == incumbent(layout),
    "move-head": lambda layout: "v0003" == linked_head(layout),
    "leave-head": lambda layout: not layout.head.is_symlink(),
    "backup": lambda layout: "v0002" == last_verified_backup(layout),
    "restore": lambda layout: verify_version(layout, "v0001"),
    "restore-incumbent": lambda layout: verify_version(layout, "v0002"),
    "prune": lambda layout: ["v0001", "v0002"] == list_versions(layout),
    "empty-trash": lambda layout: (
        [] == list(layout.trash.iterdir())
        and read_sealed(layout.deleted / "v0003", "v0003")  # what it learnt is still known
    ),
    "empty-trash-of-copies": lambda layout: [] == list(layout.trash.iterdir()),
    "delete": lambda layout: (
        ["v0001", "v0002"] == list_versions(layout)
        and verify_folder(layout.trash / list_trash(layout)[0], "v0003")
    ),
    "delete-backup": lambda layout: (
        ["v0001"] == version_names(layout.backups)
        and verify_version(layout, "v0003")
        and verify_folder(layout.trash / list_trash(layout)[0], "v0003")
    ),
}


@needs_strace
@pytest.mark.parametrize("action", OUTCOMES)
def test_a_kill_before_any_step_breaks_nothing(root, tmp_path, action):
    """
    Each system call that changes a name or waits for the disk is once the last one reached.
    """
    prepare(root, action)
    pristine, log = tmp_path / "pristine", tmp_path / "trace"
    shutil.copytree(root, pristine, symlinks=True)

    def begin():
        return partial(act, Layout(root), action)

    assert DONE == traced(begin, log, calls=STEPS)
    assert OUTCOMES[action](Layout(root))
    steps = calls_in(log)
    assert len(steps) >= 2

    for call, ordinal in steps:
        shutil.rmtree(root)
        shutil.copytree(pristine, root, symlinks=True)
        kill_before(begin, log, call, ordinal)
        check(root, damaged="v0002" if action == "restore-incumbent" else None)
        act(Layout(root), action)  # the same again, without the kill, must go through
        assert OUTCOMES[action](Layout(root)), (call, ordinal)
        check(root)


def test_kills_at_random_moments_break_nothing(root):
    """
    Whatever the registry was doing, the next process finds a version in use.
    """
    rng = random.Random(7)
    kills = int(os.environ.get("FINETUNED_KILLS", "30"))
    for n in range(kills):
        for run in range(1, 60):
            folder = Layout(root).runs / f"r-loop-{n}-{run}"
            candidate(folder)
        process = subprocess.Popen(
            [sys.executable, str(CHILD), str(root), f"r-loop-{n}"], env=ENVIRONMENT
        )
        deadline = time.monotonic() + 20
        first = Layout(root).runs / f"r-loop-{n}-1"
        while os.stat(first / "adapter_config.json").st_nlink == 1:  # its first commit has begun
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.3))  # a whole round takes about as long
        process.kill()
        assert -9 == process.wait()
        check(root)
