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
        self._renamed: set[bytes] = set()
        self._doubted: set[bytes] = set()

    def renamed_in(self, name: bytes) -> None:
        """
        Note that *name* arrived by rename, so it need not wait.
        """
        self._renamed.add(name)

    def doubt(self, name: bytes) -> None:
        """
        Note that *name* changed after it had been stable, so a rename no longer makes it stable.
        """
        self._doubted.add(name)

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
        self._doubted &= files.keys()
        return [
            name
            for name, (_, since) in self._since.items()
            if (name in self._renamed and name not in self._doubted)
            or now - since >= self.stability_seconds
        ]

    def next_due(self, now: float) -> float | None:
        """
        Return in how many seconds the first waiting file could be stable, or None.
        """
        waits = [since + self.stability_seconds - now for _, since in self._since.values()]
        return max(0.0, min(waits)) if waits else None
