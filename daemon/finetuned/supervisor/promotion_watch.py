"""
The time after a promotion: canaries asked again of the version in use, and a health signal.

A version that fails in this time is taken out of use again by itself (incidents.py).
Which promotion is watched is in the journal, so a restart goes on with it. Decides
nothing: core/promotion_watch.py does.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from finetuned.core.promotion import PromotionCause
from finetuned.core.promotion_watch import (
    is_unhealthy,
    lost_and_late_canaries,
    watch_is_over,
)
from finetuned.core.run import RunOutcome
from finetuned.core.run_end import is_over, run_status, should_reassign
from finetuned.errors import EXIT_OK
from finetuned.files.health import read_health
from finetuned.files.run import REPORT, read_json
from finetuned.files.tables.settings import WatchMark
from finetuned.layout import CANARIES
from finetuned.process.spares import WaitingWorkers
from finetuned.registry.fallback import is_intact
from finetuned.supervisor.context import Context
from finetuned.supervisor.incidents import Incident, Incidents, incident_now
from finetuned.supervisor.runs.run import SupervisedRun, start_run
from finetuned.supervisor.runs.specs import watch_spec

log = structlog.get_logger()

RETRY_SECONDS = 10.0
"""Least time between two tries to ask the canaries."""
MOST_FAILURES = 3
"""Tries that may fail for other reasons than the version's, before the watch ends without them."""

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

    @property
    def seconds(self) -> float:
        """Seconds since then, >= 0."""
        at = datetime.fromisoformat(self.at)
        return max(0.0, (datetime.now(UTC) - at).total_seconds())


@dataclass(frozen=True, slots=True)
class _Question:
    """What the canaries are asked for; they are asked again once any of it is another."""

    seq: int
    canaries_mtime_ns: int
    canaries_bytes: int
    second_half: bool
    """Whether half of the watched time is over."""


class PromotionWatch:
    """
    Owns at most one run, which asks the canaries.
    """

    def __init__(self, context: Context, spares: WaitingWorkers | None = None) -> None:
        """
        Args:
            context: Shared state.
            spares: Where an evaluation worker may wait, which the canaries are asked by and
                given back to; None starts one each time.
        """
        self._context = context
        self._spares = spares
        self._incidents = Incidents(context)
        self._run: SupervisedRun | None = None
        self._question: _Question | None = None
        """What the run is asked for."""
        self._answered: _Question | None = None
        """What was answered last."""
        self._not_before = 0.0
        self._failures = 0

    # -- what is watched ----------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the canaries are being asked right now."""
        return self._run is not None

    @property
    def run(self) -> SupervisedRun | None:
        """The run that asks the canaries, None if there is none."""
        return self._run

    def promotion(self) -> Watched | None:
        """
        Return the promotion that is being watched, None if there is none.

        It is the gate's promotion of the version in use, unless a person has chosen that
        version since. A version that comes back because a later one was reverted is
        watched to its end.
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
        Return what the status shows of the watch, None if nothing is watched.
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
        question = self._question_now(found)
        return question is not None and question != self._answered

    def _question_now(self, found: Watched) -> _Question | None:
        """Return what is to be asked now, None if there are no canaries."""
        try:
            info = (self._context.layout.benchmarks / f"{CANARIES}.jsonl").stat()
        except OSError:
            return None
        half_seconds = 30 * self._context.config.watch.minutes
        second_half = found.seconds >= half_seconds
        return _Question(found.seq, info.st_mtime_ns, info.st_size, second_half)

    # -- asking -------------------------------------------------------------------

    def start(self) -> None:
        """
        Ask the canaries of what current_model names, and of the version before.

        Raises:
            OSError: The file system refused; it is due again.
            FinetunedError: The version in use is not there; likewise.
        """
        context, found = self._context, self.promotion()
        if found is None or self.busy:
            return
        self._not_before = time.monotonic() + RETRY_SECONDS  # whatever comes of this try
        question, before = self._question_now(found), self._before(found)
        spec = watch_spec(
            context,
            context.journal.runs.next_id(),
            served=found.version,
            before=before,
            compare=before is None or is_intact(context.layout, before),
        )
        self._run, self._question = start_run(context, spec, spares=self._spares), question
        log.info("canaries_asked", run_id=spec.run_id, version=found.version)

    def _before(self, found: Watched) -> str | None:
        """Return the version that was in use before; None is the base model."""
        before = self._context.journal.promotions.before(found.seq)
        return None if before is None else before.version

    def dismiss(self) -> None:
        """
        End the run; its question is asked again later.
        """
        if self._run is not None:
            self._run.worker.dismiss()
            self._context.journal.runs.end(self._run.id, RunOutcome.INTERRUPTED)
            self._run = None

    # -- looking ------------------------------------------------------------------

    def look(self) -> None:
        """
        Take in the health signal and the canaries' answers, and act on them.

        Raises:
            OSError, sqlite3.OperationalError, FinetunedError: current_model could not
                be moved; it is tried again at the next look.
        """
        with suppress(OSError):  # an old report must not keep a new incident from being seen
            self._incidents.write_pending()
        found = self.promotion()
        if found is None:
            self.dismiss()
            return
        health = read_health(self._context.layout)
        failing = is_unhealthy(health, found.version, self._context.config.watch)
        if failing is not None:
            incident = self._incident(found, "health", failing)
            if health is not None:
                incident.health = {
                    "version": health.version,
                    "requests": health.requests,
                    "errors": health.errors,
                }
            self._revert(incident)
        elif not self._take_answers(found):
            self._end_if_over(found)

    def _end_if_over(self, found: Watched) -> None:
        marks = self._context.journal.settings
        asked = marks.watch_mark(WatchMark.ASKED) >= found.seq or self._question_now(found) is None
        if self.busy or not watch_is_over(
            read_health(self._context.layout),
            found.version,
            seconds=found.seconds,
            asked=asked or self._failures >= MOST_FAILURES,
            config=self._context.config.watch,
        ):
            return
        if not asked:
            log.error("canaries_never_asked", version=found.version, failures=self._failures)
        marks.pass_watch_mark(WatchMark.DONE, found.seq)
        log.info("watch_ended", version=found.version)

    def _take_answers(self, found: Watched) -> bool:
        """Take in the end of the run; return whether the version was taken out of use."""
        run = self._run
        if run is None:
            return False
        seen = run.observe()
        run.read_heartbeat()
        if should_reassign(seen, reused=run.reused):  # it died while it waited: no try was made
            self.dismiss()
            self._not_before = 0.0
            return False
        if not is_over(seen):
            self._check_patience(run)
            return False
        status, report = run_status(seen), read_json(run.folder / REPORT)
        asked = status == EXIT_OK and report is not None
        outcome = RunOutcome.ASKED if asked else RunOutcome.FAILED
        self._context.journal.runs.end(run.id, outcome, exit_status=status)
        self._run = None  # not before: a refusal of the journal is tried again
        if seen.process is None and self._spares is not None:
            self._spares.keep(run.worker)
        else:
            run.worker.close()
        if not asked or report is None:
            return self._not_asked(found, run)
        return self._judge(found, report)

    def _check_patience(self, run: SupervisedRun) -> None:
        config = self._context.config
        # One suite may show no progress for as long as it may take.
        limit = config.evaluation.suite_timeout_seconds + config.supervisor.worker_stuck_seconds
        cause = run.kill_if_overdue(
            stuck_seconds=limit, stop_seconds=config.supervisor.worker_stop_seconds
        )
        if cause is not None:
            log.warning("worker_killed", run_id=run.id, cause=cause)

    def _judge(self, found: Watched, report: dict[str, Any]) -> bool:
        problems = [suite["problem"] for suite in report["suites"] if suite["problem"]]
        if problems:
            log.warning("canaries_unreadable", error=problems[0])
            self._answered = self._question  # until the file changes
            return False
        lost, late = lost_and_late_canaries(report, self._passed_at_gate(found.version))
        if late and not lost:
            self._count_failure(found, f"{len(late)} canaries were not answered in time")
            return False
        self._answered, self._failures = self._question, 0
        self._context.journal.settings.pass_watch_mark(WatchMark.ASKED, found.seq)
        if lost:
            reason = f"canaries that should pass fail: {', '.join(lost[:10])}"
            incident = self._incident(found, "canaries", reason)
            incident.canaries = tuple(item for item in report["items"] if item["id"] in lost)
            self._revert(incident)
        return bool(lost)

    def _not_asked(self, found: Watched, run: SupervisedRun) -> bool:
        """Take the version out of use if its own files are why it could not be asked."""
        error = run.error
        problem = "its worker died" if error is None else error.error_message
        if not is_intact(self._context.layout, found.version):
            self._revert(self._incident(found, "files", f"it cannot be asked: {problem}"))
            return True
        self._count_failure(found, problem)
        return False

    def _count_failure(self, found: Watched, problem: str) -> None:
        self._failures += 1
        log.warning("canaries_not_asked", version=found.version, error=problem)

    def _passed_at_gate(self, version: str) -> frozenset[str]:
        report = read_json(self._context.layout.versions / version / REPORT) or {}
        return frozenset(
            str(item["id"])
            for item in report.get("items") or []
            if item["suite"] == CANARIES
            and (item["outcomes"].get("candidate") or {}).get("correct") is True
        )

    def _incident(self, found: Watched, signal: str, reason: str) -> Incident:
        return incident_now(found.version, self._before(found), found.at, signal, reason)

    def _revert(self, incident: Incident) -> None:
        try:
            self._incidents.revert(incident)
        finally:
            self.dismiss()
