"""
CPU seconds of a daemon and its children, by kind of process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psutil


class Usage:
    """
    CPU seconds of the daemon and its children, by kind of process.

    What a process uses between the last look and its end is not seen.
    """

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._last: dict[int, float] = {}
        self._kinds: dict[int, str] = {process.pid: "supervisor"}
        self.since_last_look()

    def since_last_look(self) -> Counter[str]:
        """
        Return the CPU seconds of each kind of process since the last call.
        """
        used: Counter[str] = Counter()
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                times = process.cpu_times()
                kind = self._kinds.get(process.pid) or kind_of(process.cmdline())
            except psutil.Error:
                continue
            self._kinds[process.pid] = kind
            now = times.user + times.system
            used[kind] += now - self._last.get(process.pid, 0.0)
            self._last[process.pid] = now
        return used


def kind_of(command: Sequence[str]) -> str:
    """
    Return what a child of the daemon does, from its command line.
    """
    for kind in ("training", "evaluation", "ingestion", "reports"):
        if any(f"finetuned.{kind}" in word for word in command):
            return kind
    return "other"
