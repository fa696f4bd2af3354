"""
Reading status/training_status.json: what the daemon said last, and whether it is alive now.

The writer is supervisor/status.py. Readers must not lock the root to find out whether it has a
daemon: one that starts at that moment would be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from finetuned.files.run import read_json
from finetuned.layout import Layout

SILENT_SECONDS = 30.0
"""A daemon writes its status at least every 5 s; after this long something holds it up."""

_CLOCK_SECONDS = 2.0
"""How far the wall clock and the kernel's start time of a process may disagree."""


STRANGE = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What a reader may meet in a status file whose fields are not of the types of today."""


class DaemonState(StrEnum):
    """
    Whether the daemon of a root is alive.
    """

    RUNNING = "running"
    """Its process lives and wrote the status a moment ago."""
    SILENT = "silent"
    """Its process lives and has not written the status for SILENT_SECONDS."""
    STOPPED = "stopped"
    """It ended in good order."""
    DIED = "died"
    """Its process is gone and did not say that it ends: killed, or a power cut."""
    NEVER = "never"
    """It never ran in this root."""

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self in (DaemonState.RUNNING, DaemonState.SILENT)


@dataclass(frozen=True, slots=True)
class Presence:
    """
    The daemon of one root as seen from outside, at one moment.
    """

    state: DaemonState
    pid: int | None
    """Process id that the status names; None if there is no status."""
    age_seconds: float | None
    """Since the status was written, >= 0; None if there is no status."""


class StatusDocument(dict[str, Any]):
    """
    The status file. A field that it lacks, since an older daemon wrote it, reads as None.
    """

    def __missing__(self, name: str) -> None:
        return None


def read_status(layout: Layout) -> StatusDocument | None:
    """
    Return the status document, None if there is none or it is no JSON.

    Raises:
        PermissionError: The root belongs to somebody else.
    """
    try:
        layout.status_file.stat()  # read_json() tells no reasons
    except FileNotFoundError:
        return None
    found = read_json(layout.status_file)
    return None if found is None else StatusDocument(found)


def boot_id() -> str:
    """
    Return the kernel's id of this boot: a pid means something only together with it.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"boot-{int(psutil.boot_time())}"


def presence(status: dict[str, Any] | None, now: datetime) -> Presence:
    """
    Return whether the daemon that wrote *status* is alive.

    A process with its pid counts only if it began before the status was written: a pid is
    given away again.

    Args:
        status: From read_status.
        now: With a time zone.
    """
    if status is None:
        return Presence(DaemonState.NEVER, None, None)
    try:
        written = datetime.fromisoformat(status["heartbeat_at"])
        pid = int(status["pid"])
        age = max(0.0, (now - written).total_seconds())
    except (KeyError, TypeError, ValueError):  # another program wrote the file
        return Presence(DaemonState.DIED, None, None)
    if status.get("phase") == "stopped":
        return Presence(DaemonState.STOPPED, pid, age)
    if not _began_before(pid, written.timestamp()):
        return Presence(DaemonState.DIED, pid, age)
    if age <= SILENT_SECONDS:
        # Without a look at the boot id: in a container a service may be shown another one.
        return Presence(DaemonState.RUNNING, pid, age)
    same_boot = status.get("boot_id") == boot_id()
    return Presence(DaemonState.SILENT if same_boot else DaemonState.DIED, pid, age)


def _began_before(pid: int, moment: float) -> bool:
    """Return whether *pid* lives and began before *moment*, seconds since the epoch."""
    try:
        process = psutil.Process(pid)
        return (
            process.create_time() <= moment + _CLOCK_SECONDS
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, ValueError):  # ValueError: a negative number
        return False
