"""
Who has a file open for writing: the kernel is asked, with real files and a real process.
"""

import os
import subprocess
import sys

import pytest

from finetuned.files import writers as module
from finetuned.files.writers import Writer, open_writers

HOLD = "import sys; held = open(sys.argv[1], sys.argv[2]); print('open', flush=True); input()"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a b.jsonl"
    file.write_text("{}\n")
    return os.fsencode(file)


@pytest.fixture
def holder(path):
    """
    Return a function that has another process hold the file open in a mode, and returns its pid.
    """
    processes = []

    def hold(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, os.fsdecode(path), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert b"open\n" == process.stdout.readline()
        return process

    yield hold
    for process in processes:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def no_leases(monkeypatch):
    """
    As a file of another owner: the kernel gives no lease on it, so it says nothing.
    """
    monkeypatch.setattr(module, "_lease_refused", lambda path: None)


def test_a_file_that_a_process_writes_is_named_with_that_process(path, holder):
    """
    By its pid and its command, and no longer once it has closed the file.
    """
    process = holder("a")
    found = open_writers([path])[path]
    assert process.pid == found.pid
    assert found.command.startswith("python")
    assert f"{found.command} (pid {process.pid})" == str(found)
    process.communicate(b"\n", timeout=20)  # it ends in good order

    assert {} == open_writers([path])


def test_a_reader_is_no_writer(path, holder):
    """
    Somebody looks at the file, with less or tail.
    """
    holder("r")

    assert {} == open_writers([path])


def test_without_a_lease_the_processes_of_the_same_user_are_looked_through(path, holder, no_leases):
    """
    A descriptor opened for reading and writing counts, one for reading does not.
    """
    holder("r")
    assert {} == open_writers([path])
    process = holder("r+")

    assert process.pid == open_writers([path])[path].pid


def test_a_writer_whom_nobody_may_see_is_a_writer_without_a_name(path, holder, monkeypatch):
    """
    The lease was refused, and /proc shows only one's own processes.
    """
    monkeypatch.setattr(module, "_named_by_proc", lambda paths: {})
    holder("a")

    assert {path: Writer(None, None)} == open_writers([path])
    assert "a process that this user may not see" == str(Writer(None, None))


def test_a_server_that_refuses_leases_says_nothing(path, monkeypatch):
    """
    NFS refuses a lease whenever it has no delegation; nothing follows from that.
    """
    monkeypatch.setattr(module, "_lease_refused", lambda path: True)
    monkeypatch.setattr(module, "_named_by_proc", lambda paths: {})
    monkeypatch.setattr(module, "_file_system", lambda path: "nfs4")

    assert {} == open_writers([path])


def test_what_cannot_be_opened_has_no_writer_and_never_blocks(tmp_path):
    """
    A file that is gone, a link, a FIFO that nobody writes to.
    """
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")

    assert {} == open_writers(os.fsencode(tmp_path / n) for n in ("gone", "link", "fifo"))


def test_a_writer_that_opens_the_file_meanwhile_is_not_held_up(path):
    """
    The lease is given back at once: a blocked open would show in a second process.
    """
    assert {} == open_writers([path])
    with open(path, "ab", buffering=0) as file:
        assert 1 == file.write(b"\n")
