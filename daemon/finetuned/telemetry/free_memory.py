"""
How much memory this process may still take before the kernel ends a process for it.

Linux promises more than there is: an allocation does not fail, its first use kills. So the
limits are read before: of the machine, of every cgroup around this process, of the process.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

_MOUNT = Path("/sys/fs/cgroup")


def free_memory_bytes() -> int:
    """
    Return the least of what the machine, the cgroups and the limits of this process leave.
    """
    return max(0, min([psutil.virtual_memory().available, *_process_limits(), *cgroup_rooms()]))


def cgroup_rooms(mount: Path = _MOUNT, own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """
    Yield what each cgroup with a limit has left, in bytes; the cache of files counts as free.

    Args:
        mount: Where cgroups are mounted, version 1 or 2.
        own: The kernel's list of the cgroups of this process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            tops = [mount, mount / "unified"]
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            tops = [mount / "memory"]
        else:
            continue
        for top in tops:
            folder = top / name.lstrip("/")
            # In a container the name is the host's, and only the top is there.
            while folder != top.parent:
                if (room := _room(folder, *names)) is not None:
                    yield room
                folder = folder.parent


def _room(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    try:
        limit = int((folder / limit_name).read_text())  # "max" is none
        used = int((folder / used_name).read_text())
        stat = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    cache = sum(int(line.split()[1]) for line in stat if line.startswith(f"{cache_name} "))
    return limit - used + cache


def _process_limits() -> Iterator[int]:
    memory = psutil.Process().memory_info()
    for kind, used in ((resource.RLIMIT_DATA, memory.data), (resource.RLIMIT_AS, memory.vms)):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            yield limit - used
