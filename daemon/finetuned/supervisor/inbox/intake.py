"""
From the inbox to validated datasets, and at the end to done/ or rejected/.

Finds, claims, has the ingestion worker validate, and records what it says.
Nothing is opened here: hashing and parsing is the worker's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import structlog

from finetuned.core.stability import StabilityTracker
from finetuned.errors import EXIT_CONFIG, EXIT_OK, EXIT_TEMPFAIL
from finetuned.files.base_model import position_limit
from finetuned.files.inbox import (
    InboxEntry,
    claim,
    claimed_file,
    claimed_keys,
    complete,
    decode_name,
    escape_name,
    scan,
    unchanged,
    unclaim,
)
from finetuned.files.run import ERROR, HEARTBEAT, create_run, read_json, utc_now
from finetuned.process.child import WorkerProcess
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.retire import publish_rejects, retire_dataset, write_reason

log = structlog.get_logger()

BURST_SECONDS = 0.2
CLAIMS_PER_TURN = 500
FILES_PER_RUN = 1000
RESULTS_PER_TURN = 200
CRASHES_PER_FILE = 2
SHOWN_PROBLEMS = 20


class Intake:
    """
    The inbox side of the supervisor.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tracker = StabilityTracker(context.config.inbox.stability_seconds)
        self._entries: dict[bytes, InboxEntry] = {}
        self._stable: list[bytes] = []
        self._last_scan = float("-inf")
        self._hinted = False
        self._problems: dict[bytes, str] = {}
        self._crashes: dict[str, int] = {}
        self._worker: WorkerProcess | None = None
        self._run_id: str | None = None
        self._keys: list[str] = []
        self._asked_to_stop = False
        self.unavailable: str | None = None
        """Why the inbox cannot be read now, if so."""
        self.scanned = False

    # -- finding ----------------------------------------------------------------

    @property
    def files_waiting(self) -> int:
        """Claimable files that the last scan saw and that are still there."""
        return len(self._entries)

    @property
    def stable_files(self) -> int:
        """How many of them may be claimed now."""
        return len(self._stable)

    @property
    def validating(self) -> bool:
        """Whether the ingestion worker lives."""
        return self._worker is not None

    def next_due(self, now: float) -> float | None:
        """
        Return in how many seconds a look is due because a file could be stable, or None.
        """
        return BURST_SECONDS if self._hinted else self._tracker.next_due(now)

    def look(self, now: float, *, woken: bool, renamed: set[bytes]) -> None:
        """
        Scan the inbox if it is time to, or if an event asked for it.

        Args:
            now: Monotonic time in seconds.
            woken: Whether something was reported since the last look.
            renamed: Paths that arrived by rename.
        """
        config = self._context.config.inbox
        self._tracker.stability_seconds = config.stability_seconds
        for path in renamed:
            self._tracker.renamed_in(path)
        # What is known to be stable is claimed before anything is listed again.
        due = None if self._stable else self._tracker.next_due(now)
        since = now - self._last_scan
        self._hinted = self._hinted or woken
        # A burst of events must not become a burst of scans of 20,000 names.
        wanted = since >= BURST_SECONDS and (self._hinted or due == 0.0)
        if since < config.scan_seconds and not wanted:
            return
        self._last_scan, self._hinted = now, False
        try:
            entries = list(scan(self._context.layout))
            counts = self._context.journal.count_datasets()
            complete(self._context.layout, counts.get("claimed", 0) + counts.get("accepted", 0))
        except OSError as error:
            if self.unavailable is None:
                log.warning("inbox_unavailable", error=str(error))
            self.unavailable = f"inbox_unavailable: {error.strerror} ({error.filename})"
            self._entries, self._stable = {}, []
            return
        if self.unavailable is not None:
            log.info("inbox_available")
        self.unavailable = None
        self.scanned = True
        self._entries = {e.path: e for e in entries if e.problem is None}
        self._stable = self._tracker.observe({p: e.seen for p, e in self._entries.items()}, now)
        self._report_problems({e.path: e.problem for e in entries if e.problem is not None})

    def _report_problems(self, problems: dict[bytes, str]) -> None:
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                log.warning("inbox_entry_refused", path=escape_name(path), problem=problem)
        self._problems = problems
        self._context.board.update(
            inbox_problems=[
                {"name": escape_name(path), "problem": problem}
                for path, problem in list(problems.items())[:SHOWN_PROBLEMS]
            ]
        )

    # -- claiming ---------------------------------------------------------------

    def claim_stable(self) -> None:
        """
        Take some stable files out of the inbox and record them, best priority first.

        Raises:
            OSError: The file system refused; what was claimed before is recorded,
                the rest is where it was and found by the next scan.
        """
        waiting = [self._entries[p] for p in self._stable if p in self._entries]
        order = [e for e in waiting[:CLAIMS_PER_TURN] if unchanged(self._context.layout, e)]
        journal = self._context.journal
        first = journal.next_number("claim", count=len(order))
        claims = {f"d{n:08d}": entry for n, entry in enumerate(order, first)}
        # Recorded before it is moved: a record without its file is dropped again, while a
        # file without its record would be overlooked until the next start.
        journal.add_datasets(
            [_record(key, e.path, e.priority, e.seen.size) for key, e in claims.items()]
        )
        taken: set[str] = set()
        try:
            for key, entry in claims.items():
                try:
                    claim(self._context.layout, entry, key)
                except FileNotFoundError:
                    continue  # taken back before we got to it
                taken.add(key)
        finally:
            for entry in waiting[:CLAIMS_PER_TURN]:
                del self._entries[entry.path]
            self._stable = [p for p in self._stable if p in self._entries]
            for key in sorted(taken)[:10]:
                log.info("dataset_claimed", key=key, name=escape_name(claims[key].path))
            if len(taken) > 10:
                log.info("datasets_claimed", count=len(taken))
            for key in claims.keys() - taken:
                journal.forget_claim(key)

    # -- validating -------------------------------------------------------------

    def start(self) -> None:
        """
        Start the ingestion worker on what is claimed.

        Raises:
            BaseModelMissing: There is no tokenizer to validate with.
            OSError: The file system refused.
        """
        context = self._context
        base = context.base()
        rows = context.journal.datasets("claimed", limit=FILES_PER_RUN)
        files = []
        for row in rows:
            path = claimed_file(context.layout, row["key"])
            if path is None:
                context.journal.forget_claim(row["key"])
                continue
            about = {"dataset_key": row["key"], "name": row["name"], "bytes": row["bytes"]}
            files.append({**about, "path": str(path)})
        if not files:
            return
        run_id = f"r{context.journal.next_number('run'):06d}"
        create_run(
            run_dir := context.layout.runs / run_id,
            {
                "kind": "ingestion",
                "run_id": run_id,
                "files": files,
                "datasets_dir": str(context.layout.datasets),
                "benchmarks": str(context.layout.benchmarks),
                "base": str(base),
                "data": context.config.as_dict()["data"],
                "enable_thinking": context.config.model.enable_thinking,
                "model_max_length": position_limit(base),
            },
        )
        context.journal.add_run(run_id, "ingestion", None, None)
        log_file = context.layout.logs / "workers.log"
        worker = WorkerProcess("ingestion", cwd=context.layout.root, log=log_file)
        context.journal.update_run(run_id, pid=worker.pid, pid_started=worker.started)
        worker.assign(run_dir)
        self._worker, self._run_id = worker, run_id
        self._keys = [f["dataset_key"] for f in files]
        self._asked_to_stop = False
        log.info("ingestion_started", run_id=run_id, files=len(files))

    def stop(self) -> None:
        """
        Ask the ingestion worker to leave.
        """
        if self._worker is not None and not self._asked_to_stop:
            self._asked_to_stop = True
            self._worker.stop()

    def kill(self) -> None:
        """
        End the ingestion worker at once; what it had not finished is validated again.
        """
        if self._worker is not None:
            self._worker.kill()

    @property
    def worker_pid(self) -> int | None:
        """Process id of the ingestion worker, if it lives."""
        return None if self._worker is None else self._worker.pid

    def poll(self) -> None:
        """
        Take in results that are there, and the end of the worker.

        Raises:
            OSError: The file system refused; it is tried again at the next turn.
        """
        if self._worker is None or self._run_id is None:
            return
        status = self._worker.poll()
        run_dir = self._context.layout.runs / self._run_id
        self._context.board.update(validating=_validation_progress(run_dir))
        self._take_results(run_dir, None if status is not None else RESULTS_PER_TURN)
        if status is None:
            return
        self._worker.close()
        self._context.journal.update_run(
            self._run_id,
            ended_at=utc_now(),
            exit_status=status,
            outcome="stopped" if self._asked_to_stop else "ended",
        )
        log.info("ingestion_ended", run_id=self._run_id, exit_status=status)
        if status != EXIT_OK and not self._asked_to_stop:
            self._bad_end(run_dir, status)
        self._context.board.update(validating=None)
        self._worker, self._run_id, self._keys = None, None, []

    def _bad_end(self, run_dir: Path, status: int) -> None:
        error = read_json(run_dir / ERROR) or {}
        message = error.get("error_message") or f"the validation worker ended with {status}"
        if status == EXIT_CONFIG:
            self._context.block("configuration", message)
        elif status == EXIT_TEMPFAIL:
            self._context.block(error.get("reason") or "interrupted", message)
        elif self._keys:
            # The first file without a result is the one it died on.
            key = self._keys[0]
            self._crashes[key] = self._crashes.get(key, 0) + 1
            log.error("ingestion_crashed", key=key, exit_status=status, error=message)
            if self._crashes[key] >= CRASHES_PER_FILE:
                self._quarantine(key, f"validation crashed twice on it: {message}", None, run_dir)

    def _take_results(self, run_dir: Path, limit: int | None) -> None:
        for key in list(self._keys[:limit]):
            result = read_json(run_dir / "results" / f"{key}.json")
            if result is not None:
                self._take_result(key, result, run_dir)
                self._keys.remove(key)

    def _take_result(self, key: str, result: dict[str, Any], run_dir: Path) -> None:
        kind, journal = result["result"], self._context.journal
        if kind == "unstable":
            row = journal.dataset(key)
            if row is not None and unclaim(self._context.layout, key, bytes(row["inbox_path"])):
                journal.forget_claim(key)
                self._tracker.doubt(bytes(row["inbox_path"]))
            elif (path := claimed_file(self._context.layout, key)) is not None:
                journal.update_dataset(key, bytes=path.lstat().st_size)
            log.warning("dataset_changed_while_read", key=key)
            return
        report = result.get("report") or {}
        dataset_id = result.get("dataset_id")
        if kind == "duplicate" and dataset_id is not None:
            earlier = journal.find_dataset(dataset_id, before=key)
            if earlier is not None:
                journal.update_dataset(
                    key,
                    state="duplicate",
                    dataset_id=dataset_id,
                    sha256=result["sha256"],
                    duplicate_of=earlier["key"],
                    reason=f"same bytes as {earlier['name']} ({earlier['key']})",
                )
                log.info("dataset_duplicate", key=key, duplicate_of=earlier["key"])
                retire_dataset(self._context, key)
                return
        if kind in ("accepted", "duplicate") and dataset_id is not None:
            self._accept(key, dataset_id, result)
            return
        self._quarantine(key, result.get("reason") or kind, report, run_dir)

    def _accept(self, key: str, dataset_id: str, result: dict[str, Any]) -> None:
        folder = self._context.layout.datasets / dataset_id
        manifest = read_json(folder / "manifest.json") or {}
        self._context.journal.update_dataset(
            key,
            state="accepted",
            dataset_id=dataset_id,
            sha256=result["sha256"],
            n_train=manifest.get("n_train_sequences", 0),
            n_heldout=manifest.get("n_heldout", 0),
        )
        report = result.get("report") or {}
        log.info(
            "dataset_accepted",
            key=key,
            dataset_id=dataset_id,
            rows_accepted=report.get("rows_accepted"),
            rows_rejected=report.get("rows_rejected"),
            n_heldout=manifest.get("n_heldout"),
        )
        publish_rejects(self._context, key, folder / "rejects.jsonl")

    def _quarantine(
        self, key: str, reason: str, report: dict[str, Any] | None, run_dir: Path
    ) -> None:
        self._context.journal.update_dataset(key, state="quarantined", reason=reason)
        log.warning("dataset_quarantined", key=key, reason=reason)
        publish_rejects(self._context, key, run_dir / key / "rejects.jsonl")
        write_reason(self._context, key, reason, report)
        retire_dataset(self._context, key)

    def recover(self) -> None:
        """
        Bring journal and folders back together after a crash.

        Raises:
            OSError: The file system refused.
        """
        layout, journal = self._context.layout, self._context.journal
        known = journal.dataset_keys()
        lost = []
        for key in claimed_keys(layout):
            path = claimed_file(layout, key)
            if path is None:
                (layout.processing / key).rmdir()
            elif key not in known:
                size = path.lstat().st_size
                lost.append(_record(key, decode_name(path.name), "normal", size))
        journal.add_datasets(lost)
        for row in journal.datasets("claimed"):
            if claimed_file(layout, row["key"]) is None:
                journal.forget_claim(row["key"])
        for state in ("duplicate", "quarantined"):
            for row in journal.datasets(state):
                if row["final_path"] is None:
                    retire_dataset(self._context, row["key"])
        if lost:
            log.warning("claims_recovered", count=len(lost))


def _record(key: str, path: bytes, priority: str, size: int) -> dict[str, Any]:
    name = escape_name(os.path.basename(path))
    return {"key": key, "name": name, "inbox_path": path, "priority": priority, "bytes": size}


def _validation_progress(run_dir: Path) -> dict[str, Any] | None:
    beat = read_json(run_dir / HEARTBEAT)
    shown = ("file", "rows", "bytes", "bytes_total")
    return None if beat is None else {name: beat.get(name) for name in shown}
