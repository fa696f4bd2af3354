"""
A process that gives way: its own priority and that of its session.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.process.priority import LOWEST, lower_priority


def test_a_process_that_gives_way_has_the_lowest_priority() -> None:
    """
    Also its session, if the kernel shares the processor among sessions.
    """
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        lower_priority(process.pid)

        assert LOWEST == os.getpriority(os.PRIO_PROCESS, process.pid)
        group = Path(f"/proc/{process.pid}/autogroup")
        if group.exists() and "nice" in (told := group.read_text()):
            assert told.strip().endswith(f"nice {LOWEST}")


def test_a_process_that_is_gone_is_no_error() -> None:
    """
    It may end at any moment.
    """
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    lower_priority(process.pid)
    with pytest.raises(ProcessLookupError):
        os.getpriority(os.PRIO_PROCESS, process.pid)
