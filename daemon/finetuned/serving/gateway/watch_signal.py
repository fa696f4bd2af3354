"""
control/health.json as this service writes it: how the version in use answers its requests.

The watch of a promoted version takes it back if too many of them fail. A request counts if the
engine answered it or failed at it; what was refused, came too late, was cut off by its client
or came out of the cache says nothing of the version.
"""

from __future__ import annotations

from finetuned.core.generation import FailureKind
from finetuned.core.promotion_watch import Health
from finetuned.files.health import write_health
from finetuned.layout import Layout
from finetuned.serving.gateway.metering import Record


class WatchSignal:
    """
    A Meter with the counts of one version.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._version: str | None = None
        self._requests = 0
        self._errors = 0
        self._written: Health | None = None

    def begin(self, version: str) -> None:
        """
        Count from the beginning: *version* is in use from now on.
        """
        self._version = version
        self._requests = self._errors = 0

    def ended(self, record: Record) -> None:
        """
        Count a request, if it says something of the version in use.
        """
        failed = record.failure is FailureKind.ENGINE
        if record.model == self._version and not record.cached and (failed or record.answer):
            self._requests += 1
            self._errors += failed

    def save(self) -> None:
        """
        Write the counts if they are others than at the last time.

        Raises:
            OSError: The file system refused; the next call tries again.
        """
        if self._version is None:
            return
        now = Health(self._version, self._requests, self._errors)
        if now != self._written:
            write_health(self._layout, now)
            self._written = now
