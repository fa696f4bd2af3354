"""
From claimed files to datasets: one run of the ingestion worker at a time.

Starts the run, takes in its results as they come, and puts aside what it refused.
Nothing is opened here: hashing and parsing is the worker's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from finetuned.core.action import StopCause
from finetuned.core.dataset_state import DatasetState
from finetuned.core.run import RunKind, RunOutcome
from finetuned.core.run_end import is_over, run_status
from finetuned.core.text import printable
from finetuned.core.unused_keys import unused_keys
from finetuned.errors import EXIT_CONFIG, EXIT_OK, EXIT_TEMPFAIL, RecordError
from finetuned.files.base_model import position_limit
from finetuned.files.claims import claimed_file
from finetuned.files.dataset_result import (
    DatasetOutcome,
    DatasetResult,
    counts_of_report,
    read_result,
)
from finetuned.files.heartbeat import Beat
from finetuned.files.line_mark import LineRange, read_line_mark
from finetuned.files.run import read_json
from finetuned.files.spec import ClaimedFile, IngestionSpec
from finetuned.layout import MANIFEST
from finetuned.supervisor.context import Context
from finetuned.supervisor.inbox.retire import publish_rejects, retire_dataset, write_reason
from finetuned.supervisor.runs.run import SupervisedRun, start_run

log = structlog.get_logger()

FILES_PER_RUN = 1000
RESULTS_PER_TURN = 200
CRASHES_PER_FILE = 2
STUCK_PER_FILE = 4
"""How often a file may cost supervisor.worker_stuck_seconds: then it is put aside as a whole."""
SHOWN_UNUSED_KEYS = 10
"""Files whose unused keys the status shows, the newest first."""


class Validation:
    """
    Owns at most one ingestion run.
    """

    def __init__(self, context: Context, give_back: Callable[[str], None]) -> None:
        """
        Args:
            context: Shared state.
            give_back: Called with the key of a file that changed while it was read.
        """
        self._context = context
        self._give_back = give_back
        self._run: SupervisedRun | None = None
        self._keys: list[str] = []
        """Files of the run without a result, in the order in which they are read."""
        self._unreadable: str | None = None
        """Why a result of the run could not be read; its file stays claimed."""
        self._crashes: dict[str, int] = {}
        self._stuck: dict[str, list[LineRange]] = {}
        """Lines of each file in which the validation made no progress."""

    @property
    def busy(self) -> bool:
        """Whether files are being validated."""
        return self._run is not None

    @property
    def run(self) -> SupervisedRun | None:
        """The run that goes on, None if there is none."""
        return self._run

    @property
    def worker_pid(self) -> int | None:
        """Process id of the ingestion worker, if there is one."""
        return None if self._run is None else self._run.worker.pid

    def start(self) -> None:
        """
        Start a run on what is claimed.

        Raises:
            BaseModelMissing: There is no tokenizer to validate with.
            OSError: The file system refused.
        """
        context = self._context
        layout, config, base = context.layout, context.config, context.base()
        files = self._claimed_files()
        if not files:
            return
        spec = IngestionSpec(
            kind=RunKind.INGESTION,
            run_id=context.journal.runs.next_id(),
            files=files,
            datasets_dir=layout.datasets,
            benchmarks=layout.benchmarks,
            base=base,
            data=config.data,
            enable_thinking=config.model.enable_thinking,
            model_max_length=position_limit(base),
        )
        self._run = start_run(context, spec)
        self._keys = [file.dataset_key for file in files]
        log.info("ingestion_started", run_id=spec.run_id, files=len(files))

    def _claimed_files(self) -> tuple[ClaimedFile, ...]:
        layout, journal = self._context.layout, self._context.journal
        files = []
        for row in journal.datasets.in_state(DatasetState.CLAIMED, limit=FILES_PER_RUN):
            path = claimed_file(layout, row.key)
            if path is None:
                journal.datasets.forget_claim(row.key)
                continue
            files.append(
                ClaimedFile(
                    dataset_key=row.key,
                    path=path,
                    name=row.name,
                    bytes=row.bytes,
                    stuck=tuple(self._stuck.get(row.key, ())),
                )
            )
        return tuple(files)

    def stop(self) -> None:
        """
        Ask the ingestion worker to end its run.
        """
        if self._run is not None:
            self._run.stop(StopCause.STOP)

    def kill(self) -> None:
        """
        End the ingestion worker at once; what it had not finished is validated again.
        """
        if self._run is not None:
            self._run.worker.kill()

    def poll(self) -> None:
        """
        Take in results that are there, and the end of the run.

        Raises:
            OSError: The file system refused; it is tried again at the next turn.
        """
        context, run = self._context, self._run
        if run is None:
            return
        seen = run.observe()
        run.read_heartbeat()
        context.board.update(validating=_progress(run.heartbeat))
        self._take_results(run, None if is_over(seen) else RESULTS_PER_TURN)
        if not is_over(seen):
            self._check_patience(run)
            return
        status = run_status(seen)
        stopped = run.asked is StopCause.STOP
        outcome = RunOutcome.STOPPED if stopped else RunOutcome.ENDED
        context.journal.runs.end(run.id, outcome, exit_status=status)
        run.worker.close()
        log.info("ingestion_ended", run_id=run.id, exit_status=status)
        if status != EXIT_OK and not stopped:
            self._bad_end(run, status)
        if self._unreadable is not None:
            advice = "the daemon and its workers are of different versions: restart the daemon"
            context.block("configuration", f"{self._unreadable}; {advice}")
        context.board.update(validating=None)
        self._run, self._keys, self._unreadable = None, [], None

    def _check_patience(self, run: SupervisedRun) -> None:
        """Kill a worker that does not stop when asked, or shows no sign of life."""
        config = self._context.config.supervisor
        cause = run.kill_if_overdue(
            stuck_seconds=config.worker_stuck_seconds, stop_seconds=config.worker_stop_seconds
        )
        if cause is not None:
            log.warning("worker_killed", run_id=run.id, cause=cause)

    def _bad_end(self, run: SupervisedRun, status: int) -> None:
        error = run.error
        # The first file without a result is the one it died on.
        lines = read_line_mark(run.folder, self._keys[0]) if self._keys else None
        where = "" if lines is None else f" at {lines}"
        message = f"the validation worker ended with status {status}{where}"
        if run.asked is StopCause.STUCK:
            limit = self._context.config.supervisor.worker_stuck_seconds
            message = f"the validation worker made no progress for {limit:g} s{where}"
        elif error is not None:
            message = error.error_message or message
        if status == EXIT_CONFIG:
            self._context.block("configuration", message)
        elif status == EXIT_TEMPFAIL:
            refused = None if error is None else error.reason
            self._context.block(refused or "interrupted", message)
        elif self._keys:
            log.error("ingestion_crashed", key=self._keys[0], exit_status=status, error=message)
            stuck_in = lines if run.asked is StopCause.STUCK else None
            if (reason := self._why_given_up(self._keys[0], message, stuck_in)) is not None:
                self._quarantine(self._keys[0], reason, None, run.folder)

    def _why_given_up(self, key: str, message: str, stuck_in: LineRange | None) -> str | None:
        """
        Return why a file on which a worker died is put aside, None if it is read once more.

        Args:
            key: Of the file.
            message: How the worker ended.
            stuck_in: Lines in which it made no progress: the next run leaves one line out,
                and reads several one at a time, so that it names the one.
        """
        if stuck_in is None:
            self._crashes[key] = self._crashes.get(key, 0) + 1
            again = self._crashes[key] < CRASHES_PER_FILE
            return None if again else f"validation failed twice on it: {message}"
        stuck = self._stuck.setdefault(key, [])
        stuck.append(stuck_in)
        if len(stuck) < STUCK_PER_FILE:
            return None
        return f"{message}, and before that at {', '.join(map(str, stuck[:-1]))}"

    # -- results ----------------------------------------------------------------

    def _take_results(self, run: SupervisedRun, limit: int | None) -> None:
        for key in list(self._keys[:limit]):
            try:
                result = read_result(run.folder, key)
            except RecordError as error:
                self._unreadable = str(error)
                continue
            if result is not None:
                self._take_result(key, result, run.folder)
                self._keys.remove(key)

    def _take_result(self, key: str, result: DatasetResult, run_dir: Path) -> None:
        if result.result is DatasetOutcome.UNSTABLE:
            self._give_back(key)
        elif result.dataset_id is None or result.result in (
            DatasetOutcome.QUARANTINED,
            DatasetOutcome.UNREADABLE,
        ):
            self._quarantine(key, result.reason or str(result.result), result.report, run_dir)
        elif result.result is not DatasetOutcome.DUPLICATE or not self._is_duplicate(key, result):
            self._accept(key, result.dataset_id, result)

    def _is_duplicate(self, key: str, result: DatasetResult) -> bool:
        """Put a file aside whose bytes an earlier job was trained on; False if none was."""
        journal = self._context.journal
        assert result.dataset_id is not None  # noqa: S101  seen to by the caller
        earlier = journal.datasets.earlier_copy(result.dataset_id, than=key)
        if earlier is None:
            return False
        journal.datasets.mark_duplicate(
            key,
            dataset_id=result.dataset_id,
            sha256=result.sha256,
            of=earlier,
            counts=counts_of_report(result.report),
        )
        log.info("dataset_duplicate", key=key, duplicate_of=earlier.key)
        retire_dataset(self._context, key)
        return True

    def _accept(self, key: str, dataset_id: str, result: DatasetResult) -> None:
        folder = self._context.layout.datasets / dataset_id
        manifest = read_json(folder / MANIFEST) or {}
        # Before the journal: what it has recorded is not looked at again after a crash.
        publish_rejects(self._context, key, folder / "rejects.jsonl")
        self._context.journal.datasets.accept(
            key,
            dataset_id=dataset_id,
            sha256=result.sha256,
            n_train=manifest.get("n_train_sequences", 0),
            n_heldout=manifest.get("n_heldout", 0),
            counts=counts_of_report(result.report),
        )
        report = result.report or {}
        log.info(
            "dataset_accepted",
            key=key,
            dataset_id=dataset_id,
            rows_accepted=report.get("rows_accepted"),
            rows_rejected=report.get("rows_rejected"),
            n_heldout=manifest.get("n_heldout"),
        )
        if report.get("unused_keys"):
            self._tell_unused_keys(key, report)

    def _tell_unused_keys(self, key: str, report: dict[str, Any]) -> None:
        """Say in log and status that rows of a file have keys of which nothing is made."""
        counts, rows = report["unused_keys"], report["rows_accepted"]
        log.warning("keys_unused", key=key, keys=printable(unused_keys(counts, rows)))
        board = self._context.board
        named = {"key": key, "name": report["source_name"], "rows": rows, "keys": counts}
        earlier = [  # the status file of an earlier run may hold anything
            entry
            for entry in board.fields["unused_keys"]
            if isinstance(entry, dict) and entry.get("key") != key
        ]
        board.update(unused_keys=[named, *earlier][:SHOWN_UNUSED_KEYS])

    def _quarantine(
        self, key: str, reason: str, report: dict[str, Any] | None, run_dir: Path
    ) -> None:
        publish_rejects(self._context, key, run_dir / key / "rejects.jsonl")
        write_reason(self._context, key, reason, report)
        self._context.journal.datasets.quarantine(key, reason, counts_of_report(report))
        log.warning("dataset_quarantined", key=key, reason=reason)
        retire_dataset(self._context, key)


def _progress(beat: Beat | None) -> dict[str, Any] | None:
    if beat is None:
        return None
    return {
        "file": beat.file,
        "rows": beat.rows,
        "bytes": beat.bytes,
        "bytes_total": beat.bytes_total,
    }
