"""
How long counted work still takes, from how fast it has gone so far.

Knows counts and seconds; does not know what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

BURST_SECONDS = 1.0
"""Items done this soon after the start were known already: they say nothing of the speed."""


@dataclass(slots=True)
class RemainingTime:
    """
    The time left of one piece of work whose items are counted; made when the work begins.

    If the count falls, other work has begun.
    """

    _began: float | None = None
    _done_at_start: int = 0
    _changed: float = 0.0
    _done: int = -1

    def observe(self, done: int, total: int, now: float) -> float | None:
        """
        Return how many seconds the rest will take, None if that cannot be told.

        Between two changes of *done* the estimate counts down. It is None once it has
        run out and the work goes on.

        Args:
            done: Items that are done, >= 0.
            total: Items in all.
            now: On a monotonic clock, in seconds.
        """
        if done < self._done:
            self._began = None
        if self._began is None or now - self._began < BURST_SECONDS:
            self._began = now if self._began is None else self._began
            self._done_at_start = self._done = done
            self._changed = now
            return None
        if done != self._done:
            self._done, self._changed = done, now
        counted = self._done - self._done_at_start
        if counted <= 0:
            return None
        per_item = (self._changed - self._began) / counted
        left = per_item * (total - self._done) - (now - self._changed)
        return left if left > 0 else None
