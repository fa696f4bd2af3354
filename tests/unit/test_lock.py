import os
import subprocess
import sys

import pytest

from finetuned.errors import LockHeld
from finetuned.files.lock import FileLock, held, is_locked


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


def test_the_file_says_who_holds_the_lock_and_nothing_older(tmp_path):
    """
    The rest of a longer text, left by another owner, would name a wrong process.
    """
    path = tmp_path / "lock"
    path.write_text("pid 123456789012\n")
    with FileLock(path):
        assert f"pid {os.getpid()}\n" == path.read_text()


def test_a_lock_that_nobody_signed_is_held_by_another_process(tmp_path):
    """
    The loser came between the lock and the name; its message still makes sense.
    """
    path = tmp_path / "lock"
    with FileLock(path):
        path.write_text("")
        with pytest.raises(LockHeld) as caught:
            FileLock(path).acquire()

    assert (path, "another process") == (caught.value.path, caught.value.owner)


def test_a_lock_can_be_taken_again_and_released_twice(tmp_path):
    """
    The second release is not that of a descriptor which belongs to somebody else by then.
    """
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    lock.release()
    lock.release()
    with lock:
        assert is_locked(lock.path)


def test_to_ask_changes_nothing(tmp_path):
    """
    No file is made, and a free lock stays free.
    """
    path = tmp_path / "lock"
    assert not is_locked(path)
    assert not path.exists()
    path.write_text("")
    assert not is_locked(path)
    with FileLock(path):
        pass
    assert f"pid {os.getpid()}\n" == path.read_text()


def test_a_block_holds_the_lock_to_its_end_even_if_it_raises(tmp_path):
    """
    An error in the block must not lock everybody out.
    """
    path = tmp_path / "lock"

    def fail():
        with held(path, wait_seconds=0):
            assert is_locked(path)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()

    assert not is_locked(path)


def test_who_waits_no_longer_learns_who_has_it(tmp_path):
    """
    The block is not entered.
    """
    path = tmp_path / "lock"
    with (
        FileLock(path),
        pytest.raises(LockHeld, match=f"held by pid {os.getpid()}"),
        held(path, wait_seconds=0),
    ):
        pytest.fail("entered")
