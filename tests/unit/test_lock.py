import subprocess
import sys

import pytest

from finetuned.errors import LockHeld
from finetuned.files.lock import FileLock, is_locked


def test_a_lock_has_one_owner_and_the_loser_learns_who(tmp_path):
    """
    The message names the process that has it.
    """
    path = tmp_path / "lock"
    with FileLock(path), pytest.raises(LockHeld, match=r"held by pid \d+"):
        FileLock(path).acquire()

    assert not is_locked(path)


def test_the_kernel_gives_a_dead_owners_lock_back(tmp_path):
    """
    No stale lock after kill -9, and no pid to be confused by.
    """
    path = tmp_path / "lock"
    code = (
        "import os, sys; from finetuned.files.lock import FileLock; from pathlib import Path;"
        "FileLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)

    with FileLock(path):
        assert is_locked(path)
