"""
The time after a promotion: canaries asked again of what is served, and a health signal.

What fails in this time moves current_model back by itself and leaves an incident
report. Which promotion is watched is in the journal, so a restart goes on with it.
Decides nothing: core/promotion_watch.py does.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.core.promotion import PromotionCause
from finetuned.core.promotion_watch import (
    Health,
    is_unhealthy,
    lost_canaries,
    parse_health,
    watch_is_over,
)
from finetuned.core.run import RunOutcome
from finetuned.core.run_end import is_over, run_status
from finetuned.errors import EXIT_OK, ModelError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import REPORT, read_json, utc_now
from finetuned.files.tables.settings import WatchMark
from finetuned.layout import CANARIES, Layout
from finetuned.registry.fallback import is_intact
from finetuned.supervisor.context import Context
from finetuned.supervisor.recover import check_incumbent
from finetuned.supervisor.runs.run import SupervisedRun, start_run
from finetuned.supervisor.runs.specs import watch_spec
from finetuned.supervisor.verdict.conclude import follow_journal

log = structlog.get_logger()

RETRY_SECONDS = 10.0
"""Between two tries to ask the canaries."""
MOST_FAILURES = 3
"""Tries that may fail for other reasons than the version's, before the watch ends without them."""
HEALTH_BYTES = 1 << 16
"""Longest health signal that is read."""

_WATCHED_CAUSES = (PromotionCause.GATE, PromotionCause.WATCH)


@dataclass(frozen=True, slots=True)
class Watched:
    """
    The promotion that is being watched.
    """

    seq: int
    """Its number among all decisions on the version in use."""
    version: str
    at: str
    """When it was promoted, RFC 3339 UTC."""


class PromotionWatch:
    """
    Owns at most one worker, which asks the canaries.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._run: SupervisedRun | None = None
        self._question: object = None
        """What the worker is asked for: promotion, file and half of the time."""
        self._answered: object = None
        self._not_before = 0.0
        self._failures = 0
        self._unwritten_incident: tuple[Path, dict[str, Any]] | None = None
        """An incident that could not be written down yet."""

    @property
    def busy(self) -> bool:
        """Whether the canaries are being asked right now."""
        return self._run is not None

    def promotion(self) -> Watched | None:
        """
        Return the promotion that is being watched, None where there is none.

        That is the gate's of the version in use, unless a person chose that since. A
        version that comes back because a later one was taken back is watched to its end.
        """
        journal = self._context.journal
        if self._context.config.watch.minutes == 0:
            return None
        last = journal.promotions.last()
        if last is None or last.version is None or last.cause not in _WATCHED_CAUSES:
            return None
        found = journal.promotions.last_by_gate(last.version)
        if found is None or journal.settings.watch_mark(WatchMark.DONE) >= found.seq:
            return None
        return Watched(found.seq, last.version, found.at)

    def describe(self) -> dict[str, Any] | None:
        """
        Return what the status shows of the watch, None where nothing is watched.
        """
        found = self.promotion()
        if found is None:
            return None
        return {
            "version": found.version,
            "since": found.at,
            "minutes": self._context.config.watch.minutes,
            "asking": self.busy,
        }

    def is_due(self) -> bool:
        """
        Return whether the canaries should be asked as soon as the device is free.
        """
        found = self.promotion()
        if found is None or self.busy or time.monotonic() < self._not_before:
            return False
        question = self._ask_now(found)
        return question is not None and question != self._answered

    def _ask_now(self, promotion: Watched) -> object:
        """What is to be asked: changes with the promotion, the canaries, and half the time."""
        path = self._context.layout.benchmarks / f"{CANARIES}.jsonl"
        try:
            info = path.stat()
        except OSError:
            return None  # without canaries there is nothing to ask
        half = 30 * self._context.config.watch.minutes
        return (promotion.seq, info.st_mtime_ns, info.st_size, _seconds_since(promotion) >= half)

    def start(self) -> None:
        """
        Have a worker ask the canaries of what current_model names, and of the version before.

        Raises:
            OSError: The file system refused; it is due again.
            FinetunedError: What is in use is not there; likewise.
        """
        context, found = self._context, self.promotion()
        if found is None or self.busy:
            return
        self._not_before = time.monotonic() + RETRY_SECONDS  # whatever comes of this try
        question = self._ask_now(found)
        before = self._before(found)
        spec = watch_spec(
            context,
            context.journal.runs.next_id(),
            served=found.version,
            before=before,
            compare=before is None or is_intact(context.layout, before),
        )
        self._run = start_run(context, spec)
        self._question = question
        log.info("canaries_asked", run_id=spec.run_id, version=found.version)

    def _before(self, promotion: Watched) -> str | None:
        found = self._context.journal.promotions.before(promotion.seq)
        return None if found is None else found.version

    def look(self) -> None:
        """
        Take in the health signal and the canaries' answers, and act on them.

        Raises:
            OSError, sqlite3.OperationalError, FinetunedError: current_model could not
                be moved; it is tried again at the next look.
        """
        with suppress(OSError):  # nor must an old incident keep a new one from being seen
            self._write_incident()
        found = self.promotion()
        if found is None:
            self.dismiss()
            return
        health = read_health(self._context.layout)
        config = self._context.config.watch
        failing = is_unhealthy(health, found.version, config)
        if failing is not None:
            self._revert_promotion(found, "health", failing, {"health": _shown(health)})
            return
        if self._take_answers(found):
            return
        marks = self._context.journal.settings
        asked = marks.watch_mark(WatchMark.ASKED) >= found.seq or self._ask_now(found) is None
        seconds = _seconds_since(found)
        if self.busy or not watch_is_over(
            health,
            found.version,
            seconds=seconds,
            asked=asked or self._failures >= MOST_FAILURES,
            config=config,
        ):
            return
        if not asked:
            log.error("canaries_never_asked", version=found.version, failures=self._failures)
        marks.pass_watch_mark(WatchMark.DONE, found.seq)
        log.info("watch_ended", version=found.version)

    def _take_answers(self, found: Watched) -> bool:
        """Return whether what the canaries said took the version back."""
        run, config = self._run, self._context.config
        if run is None:
            return False
        seen = run.observe()
        run.read_heartbeat()
        if not is_over(seen):
            # One suite may show no progress for as long as it may take.
            limit = config.evaluation.suite_timeout_seconds + config.supervisor.worker_stuck_seconds
            run.kill_if_overdue(
                stuck_seconds=limit, stop_seconds=config.supervisor.worker_stop_seconds
            )
            return False
        self._run = None
        run.worker.close()
        status, report = run_status(seen), read_json(run.folder / REPORT)
        asked = status == EXIT_OK and report is not None
        outcome = RunOutcome.ASKED if asked else RunOutcome.FAILED
        self._context.journal.runs.end(run.id, outcome, exit_status=status)
        if not asked or report is None:
            return self._not_asked(found, run)
        problems = [s["problem"] for s in report["suites"] if s["problem"]]
        if problems:
            log.warning("canaries_unreadable", error=problems[0])
            self._answered = self._question  # until the file changes
            return False
        self._answered, self._failures = self._question, 0
        self._context.journal.settings.pass_watch_mark(WatchMark.ASKED, found.seq)
        lost = lost_canaries(report, self._passed_at_gate(found.version))
        if lost:
            reason = f"canaries that should pass fail: {', '.join(lost[:10])}"
            items = [i for i in report["items"] if i["id"] in lost]
            self._revert_promotion(found, "canaries", reason, {"canaries": items})
        return bool(lost)

    def _not_asked(self, found: Watched, run: SupervisedRun) -> bool:
        """
        Find out whose fault it was: only a version whose own files are damaged is taken back.
        """
        error = run.error
        problem = "its worker died" if error is None else error.error_message
        if not is_intact(self._context.layout, found.version):
            self._revert_promotion(found, "files", f"it cannot be asked: {problem}", {})
            return True
        self._failures += 1
        log.warning("canaries_not_asked", version=found.version, error=problem)
        return False

    def _passed_at_gate(self, version: str) -> frozenset[str]:
        report = read_json(self._context.layout.versions / version / REPORT) or {}
        return frozenset(
            str(item["id"])
            for item in report.get("items") or []
            if item["suite"] == CANARIES
            and (item["outcomes"].get("candidate") or {}).get("correct") is True
        )

    def _revert_promotion(
        self, found: Watched, signal: str, reason: str, evidence: dict[str, Any]
    ) -> None:
        context, before, began = self._context, self._before(found), time.monotonic()
        incident = {
            "version": found.version,
            "back_to": before,
            "signal": signal,
            "reason": reason,
            "promoted_at": found.at,
            "taken_back_at": utc_now(),
            "seconds": None,
            "what_to_do": [
                f"look at what failed: jq . models/versions/{found.version}/{REPORT}",
                f"put it back all the same: finetuned versions promote {found.version}",
            ],
            **evidence,
        }
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{found.version}.json"
        self._unwritten_incident = (context.layout.incidents / name, incident)
        with suppress(OSError):  # a full disk must not keep a bad version in use
            self._write_incident(keep=True)
        context.journal.promotions.add(before, PromotionCause.WATCH)
        try:
            follow_journal(context)
        except (ModelError, RegistryError):
            check_incumbent(context)  # from its backup, or the nearest ancestor that is good
            follow_journal(context)
        finally:
            incident["back_to"] = context.journal.promotions.incumbent()
            incident["seconds"] = round(time.monotonic() - began, 3)
            self.dismiss()
            fields = ("version", "back_to", "signal", "reason", "seconds")
            log.error("version_taken_back", **{field: incident[field] for field in fields})
            context.board.update(last_incident={**incident, "file": f"logs/incidents/{name}"})
        with suppress(OSError):  # or at the next look
            self._write_incident()

    def _write_incident(self, *, keep: bool = False) -> None:
        """Write down what happened; with *keep* it is written again once more is known."""
        if self._unwritten_incident is None:
            return
        path, incident = self._unwritten_incident
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, orjson.dumps(incident, option=orjson.OPT_INDENT_2))
        if not keep:
            self._unwritten_incident = None

    def dismiss(self) -> None:
        """
        End the worker; what it was asked is asked again later.
        """
        if self._run is not None:
            self._run.worker.dismiss()
            self._context.journal.runs.end(self._run.id, RunOutcome.INTERRUPTED)
            self._run = None


def read_health(layout: Layout) -> Health | None:
    """
    Return what a server left in control/health.json, None where there is nothing usable.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(layout.control / "health.json", flags)
    except OSError:
        return None
    try:
        data = os.read(fd, HEALTH_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        return parse_health(orjson.loads(data))
    except (OSError, orjson.JSONDecodeError):
        return None
    finally:
        os.close(fd)


def _seconds_since(promotion: Watched) -> float:
    at = datetime.fromisoformat(promotion.at)
    return max(0.0, (datetime.now(UTC) - at).total_seconds())


def _shown(health: Health | None) -> dict[str, Any] | None:
    if health is None:
        return None
    return {"version": health.version, "requests": health.requests, "errors": health.errors}
