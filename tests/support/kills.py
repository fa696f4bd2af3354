"""
A step done in a forked child under strace, which kills it, or fails a system call of it.

The child has imported everything already, so that a kill costs as much as the step itself.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="needs strace (apt-get install strace)")

CALLS = (
    "write,pwrite64,ftruncate,fsync,fdatasync,sendfile,copy_file_range,"
    "?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,"
    "?link,?linkat,?symlink,?symlinkat,?chmod,?fchmodat"
)
"""What changes a file or a name, or waits for the disk."""

DONE, REFUSED, BUG = 0, 75, 70
"""How a child ends: its step came to an end, raised OSError, or raised something else."""

WAIT_SECONDS = 20.0

Step = Callable[[], object]


def traced(begin: Callable[[], Step], log: Path, *injections: str, calls: str = CALLS) -> int:
    """
    Do a step in a child under strace; return its exit status, minus a signal.

    Args:
        begin: Called in the child before it is traced; returns the step.
        log: Written by strace; see calls_in().
        injections: As strace takes them, such as "fsync:signal=SIGKILL:when=2".
        calls: The system calls that are traced and counted.
    """
    ours, theirs = socket.socketpair()
    log.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        ours.close()
        _be_traced(begin, theirs)
    theirs.close()
    if not ours.recv(1):
        _, status = os.waitpid(child, 0)
        ours.close()
        raise AssertionError(f"it did not get ready: {os.waitstatus_to_exitcode(status)}")
    options = [word for injection in injections for word in ("-e", f"inject={injection}")]
    # No --seccomp-bpf: under it strace 6.1 never sends the signal.
    trace = ("-f", "-qq", "-o", str(log), "-e", f"trace=chdir,{calls}")
    with subprocess.Popen(
        [STRACE or "", *trace, *options, "-p", str(child)], stderr=subprocess.PIPE, text=True
    ) as tracer:
        try:
            deadline = time.monotonic() + WAIT_SECONDS
            while not (log.exists() and "chdir(" in log.read_text()):
                if tracer.poll() is not None or time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    tracer.kill()
                    said = tracer.stderr.read() if tracer.stderr else ""
                    pytest.skip(f"strace cannot trace here: {said}")
                time.sleep(0.001)
            ours.send(b"g")
            _, status = os.waitpid(child, 0)
        finally:
            ours.close()
        tracer.wait(WAIT_SECONDS)
    return os.waitstatus_to_exitcode(status)


def _be_traced(begin: Callable[[], Step], parent: socket.socket) -> None:
    """
    Make ready, wait to be let go, do the step and leave.

    It changes its directory while it waits: once that is in the log, strace sees everything.
    """
    status = BUG
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        step = begin()
        parent.send(b"r")
        while not select.select([parent], [], [], 0.001)[0]:
            os.chdir(".")
        step()
        status = DONE
    except OSError:
        traceback.print_exc()
        status = REFUSED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def calls_in(log: Path) -> list[tuple[str, int]]:
    """
    Return each traced system call but those of waiting, with its ordinal among those of its name.
    """
    counts: Counter[str] = Counter()
    found = []
    for line in log.read_text().splitlines():
        call = line.split(maxsplit=1)[1].split("(")[0]
        if call.isidentifier() and call != "chdir":
            counts[call] += 1
            found.append((call, counts[call]))
    return found


def kill_before(begin: Callable[[], Step], log: Path, call: str, ordinal: int) -> None:
    """
    Do a step in a child that is killed by SIGKILL as it makes *call* for the *ordinal*-th time.
    """
    status = traced(begin, log, f"{call}:signal=SIGKILL:when={ordinal}", calls=call)
    assert -signal.SIGKILL == status, (call, ordinal, status)
