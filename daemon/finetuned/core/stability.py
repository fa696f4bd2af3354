"""
Which files in the inbox have stopped changing.

Is given the scans; knows no file system and no clock (``now`` is an argument).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """
    The identity of one state of a file: if any of it differs, the file changed.
    """

    size: int
    mtime_ns: int
    inode: int


class StabilityTracker:
    """
    Remembers since when each file has looked the same.

    A file is stable once it kept size, mtime and inode for ``stability_seconds``,
    or at once when it was renamed into place: a rename delivers whole files.
    """

    def __init__(self, stability_seconds: float) -> None:
        self.stability_seconds = stability_seconds
        self._since: dict[bytes, tuple[Seen, float]] = {}
        self._first: dict[bytes, tuple[int, float]] = {}
        """Inode of each waiting file, and when it was first seen or first given back."""
        self._stable: set[bytes] = set()
        self._renamed: set[bytes] = set()
        self._doubted: dict[bytes, tuple[int, float]] = {}

    def renamed_in(self, name: bytes) -> None:
        """
        Note that *name* arrived by rename, so it need not wait.
        """
        self._renamed.add(name)

    def doubt(self, name: bytes, inode: int, now: float) -> None:
        """
        Note that a file changed after it had been stable, so a rename no longer makes it stable.

        Args:
            name: Where it was put back.
            inode: Of the file: another one of the same name is not doubted.
            now: Monotonic time in seconds.
        """
        known = self._doubted.get(name)
        if known is None or known[0] != inode:
            self._doubted[name] = (inode, now)

    def observe(self, files: dict[bytes, Seen], now: float) -> list[bytes]:
        """
        Take in one full scan and return the names that are stable, in scan order.

        Args:
            files: Every candidate file now in the inbox.
            now: Monotonic time in seconds.
        """
        self._since = {
            name: known
            if (known := self._since.get(name)) is not None and known[0] == seen
            else (seen, now)
            for name, seen in files.items()
        }
        self._renamed &= files.keys()
        self._first = {
            name: self._waits_since(name, seen.inode, now) for name, seen in files.items()
        }
        stable = [
            name
            for name, (seen, since) in self._since.items()
            if (name in self._renamed and not self._is_doubted(name, seen.inode))
            or now - since >= self.stability_seconds
        ]
        self._stable = set(stable)
        return stable

    def next_due(self, now: float) -> float | None:
        """
        Return in how many seconds the first waiting file could become stable, or None.

        A file that was stable at the last scan needs no scan to become so.
        """
        waits = [
            since + self.stability_seconds - now
            for name, (_, since) in self._since.items()
            if name not in self._stable
        ]
        return max(0.0, min(waits)) if waits else None

    def unchanged_for(self, name: bytes, now: float) -> float:
        """
        Return for how many seconds a file of the last scan has looked the same.
        """
        return now - self._since[name][1]

    def waiting_for(self, name: bytes, now: float) -> float:
        """
        Return for how many seconds a file of the last scan has waited, changed or not.

        A file that was claimed, changed while it was read and was put back has waited since
        it was first put back.
        """
        return now - self._first[name][1]

    def _is_doubted(self, name: bytes, inode: int) -> bool:
        return self._doubted.get(name, (-1, 0.0))[0] == inode

    def _waits_since(self, name: bytes, inode: int, now: float) -> tuple[int, float]:
        known = self._first.get(name)
        if known is not None and known[0] == inode:
            return known
        if self._is_doubted(name, inode):
            return self._doubted[name]
        return inode, now
