"""
Load, memory and disk of the machine, as one flat table for the status. Knows psutil.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import psutil

from finetuned.telemetry.gpu import Reading


@lru_cache(maxsize=8)
def _process(pid: int) -> psutil.Process:
    return psutil.Process(pid)


def _rss_bytes(pid: int) -> int | None:
    try:
        return int(_process(pid).memory_info().rss)
    except psutil.Error:
        _process.cache_clear()  # it ended; the pid may belong to another process next time
        return None


def host_reading(root: Path, *, worker_pid: int | None = None) -> Reading:
    """
    Return the machine's load. Costs well under 2 ms and never waits.

    Args:
        root: Any existing path on the disk whose free space matters.
        worker_pid: A process whose memory is of interest besides our own.

    Returns:
        ``cpu_pct`` (0 to 100, mean over all cores since the last call, 0 at the
        first), ``load_1m``, ``memory_used_bytes``, ``memory_total_bytes``,
        ``disk_free_bytes`` (for unprivileged users; None if *root* is gone),
        ``rss_bytes`` (this process), ``worker_rss_bytes`` (None without a worker).
    """
    memory = psutil.virtual_memory()
    try:
        disk = os.statvfs(root)
        disk_free: int | None = disk.f_bavail * disk.f_frsize
    except OSError:
        disk_free = None
    return {
        "cpu_pct": psutil.cpu_percent(interval=None),
        "load_1m": round(os.getloadavg()[0], 2),
        "memory_used_bytes": memory.total - memory.available,
        "memory_total_bytes": memory.total,
        "disk_free_bytes": disk_free,
        "rss_bytes": _rss_bytes(os.getpid()),
        "worker_rss_bytes": None if worker_pid is None else _rss_bytes(worker_pid),
    }
