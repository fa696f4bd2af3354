"""
The time after a promotion: canaries asked again of what is served, and a health signal.

What fails in this time moves current_model back by itself and leaves an incident
report. Which promotion is watched is in the journal, so a restart goes on with it.
Decides nothing: core/watch.py does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from finetuned.core.watch import Health, is_over, is_unhealthy, lost_canaries, parse_health
from finetuned.errors import ModelError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import REPORT, create_run, read_exit, read_json, utc_now
from finetuned.layout import CANARIES, Layout
from finetuned.supervisor.conclude import follow_journal
from finetuned.supervisor.context import Context
from finetuned.supervisor.recover import check_incumbent
from finetuned.supervisor.spawn import WorkerProcess
from finetuned.supervisor.specs import subject_spec

log = structlog.get_logger()

DONE = "watched_promotion"
"""In the journal's settings: the last promotion whose watch is over."""


class Watch:
    """
    Owns at most one worker, which asks the canaries.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._worker: WorkerProcess | None = None
        self._run_id = ""
        self._started = 0.0
        self._asked: object = None
        """What the canaries were asked for last: promotion, file and half of the time."""

    @property
    def busy(self) -> bool:
        """Whether the canaries are being asked right now."""
        return self._worker is not None

    def promotion(self) -> dict[str, Any] | None:
        """
        Return the promotion that is being watched, None where there is none.
        """
        journal, minutes = self._context.journal, self._context.config.watch.minutes
        last = journal.row("SELECT * FROM promotions ORDER BY seq DESC LIMIT 1")
        if last is None or last["cause"] != "gate" or minutes == 0:
            return None
        return None if int(journal.setting(DONE) or 0) >= last["seq"] else last

    def describe(self) -> dict[str, Any] | None:
        """
        Return what the status shows of the watch, None where nothing is watched.
        """
        found = self.promotion()
        if found is None:
            return None
        return {
            "version": found["version"],
            "since": found["at"],
            "minutes": self._context.config.watch.minutes,
            "asking": self.busy,
        }

    def is_due(self) -> bool:
        """
        Return whether the canaries should be asked as soon as the device is free.
        """
        found = self.promotion()
        return found is not None and not self.busy and self._question(found) != self._asked

    def _question(self, promotion: dict[str, Any]) -> object:
        """What is asked again: changes with the promotion, the canaries, and half the time."""
        path = self._context.layout.benchmarks / f"{CANARIES}.jsonl"
        try:
            info = path.stat()
        except OSError:
            return self._asked  # without canaries there is nothing to ask
        half = 30 * self._context.config.watch.minutes
        return (promotion["seq"], info.st_mtime_ns, info.st_size, _seconds_since(promotion) >= half)

    def start(self) -> None:
        """
        Have a worker ask the canaries of what current_model names, and of the version before.

        Raises:
            OSError: The file system refused; it is due again.
            FinetunedError: A model is not there; likewise.
        """
        context, found = self._context, self.promotion()
        if found is None or self.busy:
            return
        question = self._question(found)
        layout, journal = context.layout, context.journal
        run_id = f"r{journal.next_number('run'):06d}"
        served = subject_spec(context, found["version"])
        # Through the link, as whoever serves it does.
        served["folder" if served["folder"] else "base"] = str(layout.current_model)
        spec = {
            "kind": "watch",
            "run_id": run_id,
            "job_id": None,
            "watch": True,
            "config": context.config.as_dict(),
            "incumbent": subject_spec(context, self._before(found)),
            "candidate": served,
            "benchmarks": str(layout.benchmarks),
            "answers": str(layout.answers),
        }
        create_run(layout.runs / run_id, spec)
        worker = WorkerProcess("evaluation", cwd=layout.root, log=layout.logs / "workers.log")
        try:
            journal.add_run(run_id, "watch", None, None)
            journal.update_run(run_id, pid=worker.pid, pid_started=worker.started)
        except BaseException:
            worker.dismiss()
            raise
        worker.assign(layout.runs / run_id)
        self._worker, self._run_id, self._started = worker, run_id, time.monotonic()
        self._asked = question
        log.info("canaries_asked", run_id=run_id, version=found["version"])

    def _before(self, promotion: dict[str, Any]) -> str | None:
        row = self._context.journal.row(
            "SELECT version FROM promotions WHERE seq < ? ORDER BY seq DESC LIMIT 1",
            (promotion["seq"],),
        )
        return None if row is None else row["version"]

    def look(self) -> None:
        """
        Take in the health signal and the canaries' answers, and act on them.

        Raises:
            OSError, sqlite3.OperationalError, FinetunedError: current_model could not
                be moved; it is tried again at the next look.
        """
        found = self.promotion()
        if found is None:
            self.dismiss()
            return
        health = read_health(self._context.layout)
        config = self._context.config.watch
        failing = is_unhealthy(health, found["version"], config)
        if failing is not None:
            self._take_back(found, "health", failing, {"health": _shown(health)})
            return
        self._take_answers(found)
        over = is_over(health, found["version"], seconds=_seconds_since(found), config=config)
        if over and not self.busy and self.promotion() is not None:
            with self._context.journal.write():
                self._context.journal.set_setting(DONE, str(found["seq"]))
            log.info("watch_ended", version=found["version"])

    def _take_answers(self, found: dict[str, Any]) -> None:
        worker, folder = self._worker, self._context.layout.runs / self._run_id
        if worker is None:
            return
        said, status = read_exit(folder), worker.poll()
        limit = self._context.config.evaluation.final_timeout_seconds
        if said is None and status is None and time.monotonic() - self._started < 2 * limit:
            return
        self._worker = None
        worker.dismiss()
        outcome = "asked" if said is not None and said.status == 0 else "failed"
        self._context.journal.update_run(
            self._run_id,
            ended_at=utc_now(),
            exit_status=said.status if said is not None else status,
            outcome=outcome,
        )
        report = read_json(folder / REPORT)
        if outcome == "failed" or report is None:
            # A version that cannot even be loaded fails every request.
            problem = (read_json(folder / "error.json") or {}).get("error_message")
            if problem is not None and said is not None and said.status not in (0, 75, 78):
                self._take_back(found, "canaries", f"it cannot be asked: {problem}", {})
            return
        problems = [s["problem"] for s in report["suites"] if s["problem"]]
        if problems:
            log.warning("canaries_unreadable", error=problems[0])
        lost = lost_canaries(report, self._passed_at_gate(found["version"]))
        if lost:
            reason = f"canaries that should pass fail: {', '.join(lost[:10])}"
            items = [i for i in report["items"] if i["id"] in lost]
            self._take_back(found, "canaries", reason, {"canaries": items})

    def _passed_at_gate(self, version: str) -> frozenset[str]:
        report = read_json(self._context.layout.versions / version / REPORT) or {}
        return frozenset(
            str(item["id"])
            for item in report.get("items") or []
            if item["suite"] == CANARIES
            and (item["outcomes"].get("candidate") or {}).get("correct") is True
        )

    def _take_back(
        self, found: dict[str, Any], signal: str, reason: str, evidence: dict[str, Any]
    ) -> None:
        context, before, began = self._context, self._before(found), time.monotonic()
        context.journal.set_incumbent(before, "watch")
        try:
            follow_journal(context)
        except (ModelError, RegistryError):
            check_incumbent(context)  # from its backup, or the nearest ancestor that is good
            follow_journal(context)
        before = context.journal.incumbent()
        seconds = time.monotonic() - began
        self.dismiss()
        log.error(
            "version_taken_back",
            version=found["version"],
            to=before,
            signal=signal,
            reason=reason,
            seconds=round(seconds, 3),
        )
        incident = {
            "version": found["version"],
            "back_to": before,
            "signal": signal,
            "reason": reason,
            "promoted_at": found["at"],
            "taken_back_at": utc_now(),
            "seconds": round(seconds, 3),
            "what_to_do": [
                f"look at what failed: jq . {context.layout.versions / found['version'] / REPORT}",
                f"put it back all the same: tools/versions.py promote {found['version']}",
            ],
            **evidence,
        }
        folder = context.layout.incidents
        folder.mkdir(exist_ok=True)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{found['version']}.json"
        write_atomic(folder / name, orjson.dumps(incident, option=orjson.OPT_INDENT_2))
        context.board.update(last_incident={**incident, "file": f"logs/incidents/{name}"})

    def dismiss(self) -> None:
        """
        End the worker; what it was asked is asked again later.
        """
        if self._worker is not None:
            self._worker.dismiss()
            self._worker, self._asked = None, None
            self._context.journal.update_run(
                self._run_id, ended_at=utc_now(), outcome="interrupted"
            )


def read_health(layout: Layout) -> Health | None:
    """
    Return what a server left in control/health.json, None where there is nothing usable.
    """
    return parse_health(read_json(layout.control / "health.json"))


def _seconds_since(promotion: dict[str, Any]) -> float:
    at = datetime.fromisoformat(promotion["at"])
    return max(0.0, (datetime.now(UTC) - at).total_seconds())


def _shown(health: Health | None) -> dict[str, Any] | None:
    if health is None:
        return None
    return {"version": health.version, "requests": health.requests, "errors": health.errors}
