"""
A process that gives way to all others: to a daemon that trains, and to people.

Does not know what the process does.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

LOWEST = 19
"""The nicest a process can be."""


def lower_priority(pid: int) -> None:
    """
    Give process *pid* the lowest priority for processor and disk, as far as the system allows.

    The group of its session is lowered as well: where the kernel shares the processor among
    sessions, a process alone in its own would have as much as one of normal priority.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, LOWEST)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(LOWEST))
    with contextlib.suppress(psutil.Error, OSError, AttributeError):
        psutil.Process(pid).ionice(psutil.IOPRIO_CLASS_IDLE)
