"""
A promotion that is reverted because the version failed in use, and the report of it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.core.head import NewHead, after_harm
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.record import to_json
from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import REPORT, utc_now
from finetuned.registry.fallback import usable
from finetuned.supervisor.context import Context
from finetuned.supervisor.recover import check_head, check_incumbent
from finetuned.supervisor.verdict.follow import follow_journal

log = structlog.get_logger()


@dataclass(kw_only=True)
class Incident:
    """
    What logs/incidents/ says of one reverted promotion.
    """

    version: str
    back_to: str | None
    """The version in use since; None is the base model."""
    head: str | None = None
    """The version that training goes on from since, likewise."""
    signal: str
    """What showed it: health, canaries or files."""
    reason: str
    promoted_at: str
    """RFC 3339 UTC, like the next."""
    taken_back_at: str
    seconds: float | None = None
    """How long the step back took; None until it is done."""
    what_to_do: tuple[str, ...] = ()
    health: dict[str, Any] | None = None
    """The health signal, if it was what showed it."""
    canaries: tuple[dict[str, Any], ...] | None = None
    """The canaries that fail and should pass, with their answers; likewise."""

    def as_dict(self) -> dict[str, Any]:
        """
        Return the incident as JSON holds it; evidence of another signal is left out.
        """
        body: dict[str, Any] = to_json(self)
        return {
            name: value
            for name, value in body.items()
            if name not in ("health", "canaries") or value is not None
        }


class Incidents:
    """
    Reverts promotions; keeps a report that could not be written until it can be.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._unwritten: tuple[Path, Incident] | None = None

    def revert(self, incident: Incident) -> None:
        """
        Put the version before in use, and report the incident.

        A head that descends from the version steps below it.

        Raises:
            OSError, sqlite3.OperationalError, ModelError, RegistryError: current_model could
                not be moved; the journal has decided, and it is tried again at the next look.
        """
        context, began = self._context, time.monotonic()
        incident.what_to_do = (
            f"look at what failed: jq . models/versions/{incident.version}/{REPORT}",
            f"put it back all the same: finetuned versions promote {incident.version}",
        )
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{incident.version}.json"
        self._unwritten = (context.layout.incidents / name, incident)
        with suppress(OSError):  # a full disk must not keep a bad version in use
            self._write()
        context.journal.put_in_use(
            incident.back_to, PromotionCause.WATCH, head=self._head_after(incident)
        )
        try:
            follow_journal(context)
        except (ModelError, RegistryError):
            check_incumbent(context)  # from its backup, or the nearest ancestor that is good
            check_head(context)
            follow_journal(context)
        finally:
            incident.back_to = context.journal.promotions.incumbent()
            incident.head = context.journal.heads.version()
            incident.seconds = round(time.monotonic() - began, 3)
            log.error(
                "version_taken_back",
                version=incident.version,
                back_to=incident.back_to,
                head=incident.head,
                signal=incident.signal,
                reason=incident.reason,
                seconds=incident.seconds,
            )
            shown = {**incident.as_dict(), "file": f"logs/incidents/{name}"}
            context.board.update(last_incident=shown)
        with suppress(OSError):
            self.write_pending()

    def _head_after(self, incident: Incident) -> NewHead:
        """Return the head once the version is taken back: one that descends from it is left."""
        layout, journal = self._context.layout, self._context.journal
        head = after_harm(
            journal.heads.version(),
            incident.version,
            release=incident.back_to,
            parents=journal.versions.parents(),
            is_usable=lambda name: usable(layout, name),
        )
        return NewHead(head, HeadCause.WATCH)

    def write_pending(self) -> None:
        """
        Write the report that could not be written yet, if there is one.

        Raises:
            OSError: The file system refused; it is still pending.
        """
        if self._unwritten is not None:
            self._write()
            self._unwritten = None

    def _write(self) -> None:
        if self._unwritten is None:
            return
        path, incident = self._unwritten
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, orjson.dumps(incident.as_dict(), option=orjson.OPT_INDENT_2))


def incident_now(
    version: str, back_to: str | None, promoted_at: str, signal: str, reason: str
) -> Incident:
    """
    Return an incident that was seen just now.
    """
    return Incident(
        version=version,
        back_to=back_to,
        signal=signal,
        reason=reason,
        promoted_at=promoted_at,
        taken_back_at=utc_now(),
    )
