"""
Whether the daemon of this root needs the machine now: then trials wait.

Reads the inbox and the status file; the daemon knows nothing of a search.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from finetuned.core.phase import Phase
from finetuned.files.inbox import scan
from finetuned.files.status_file import presence, read_status
from finetuned.layout import Layout

QUIET: frozenset[str] = frozenset(
    {Phase.IDLE, Phase.PAUSED, Phase.WAITING, Phase.STOPPING, Phase.STOPPED}
)
"""Phases in which the daemon computes nothing."""

SETTLED_SECONDS = 2.0
"""
How long the daemon must need nothing before trials go on: between the validation of a file and
its training it is idle for a moment.
"""

LOOK_SECONDS = 0.05
"""How often it is looked at."""


class GivingWay:
    """
    Says whether trials have to wait, and waits.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._looked = -LOOK_SECONDS
        self._reason: str | None = None
        self.waited_seconds = 0.0
        """How long trials have waited so far."""

    def reason(self) -> str | None:
        """
        Return why trials have to wait, None if they need not; looks again after LOOK_SECONDS.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked, self._reason = now, why_to_wait(self._layout, datetime.now(UTC))
        return self._reason

    def wait(self, on_wait: Callable[[str], None]) -> None:
        """
        Return once the daemon has needed nothing for SETTLED_SECONDS; at once if it never did.

        Args:
            on_wait: Called with the reason, again and again.
        """
        if self.reason() is None:
            return
        began = quiet_since = time.monotonic()
        while (now := time.monotonic()) - quiet_since < SETTLED_SECONDS:
            if (why := self.reason()) is not None:
                quiet_since = now
                on_wait(why)
            time.sleep(LOOK_SECONDS)
        self.waited_seconds += time.monotonic() - began


def why_to_wait(layout: Layout, now: datetime) -> str | None:
    """
    Return for what the daemon needs the machine, None if it needs it for nothing.

    A daemon that does not run, or is paused, needs nothing: then no file is waited for.

    Args:
        layout: The root.
        now: With a time zone.
    """
    status = read_status(layout)
    if status is None or not presence(status, now).state.alive:
        return None
    phase = status["phase"]
    if phase == Phase.PAUSED:
        return None
    try:
        dropped = next((e for e in scan(layout) if e.problem is None), None)
    except OSError:
        dropped = None  # the daemon says what is wrong with its inbox
    if dropped is not None:
        name = dropped.path.decode("utf-8", "replace")
        return f"{name} was dropped"
    if phase in QUIET:
        return None
    return f"the daemon is busy: {str(phase).replace('_', ' ')}"
