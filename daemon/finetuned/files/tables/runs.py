"""
Runs in the journal: recorded before their process is born, ended once.
"""

from __future__ import annotations

from finetuned.core.run import RunKind, RunOutcome
from finetuned.files.database import Database
from finetuned.files.rows import RunRow
from finetuned.files.run import utc_now


class Runs:
    """
    The table ``runs``. Every method that changes it is one transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def unfinished(self) -> list[RunRow]:
        """
        Return runs that have no end recorded, by age.
        """
        return self._database.read(RunRow, "SELECT * FROM runs WHERE ended_at IS NULL ORDER BY id")

    def of_job(self, job_id: str) -> list[RunRow]:
        """
        Return the runs of one job, oldest first.
        """
        return self._database.read(
            RunRow, "SELECT * FROM runs WHERE job_id = ? ORDER BY id", (job_id,)
        )

    def next_id(self) -> str:
        """
        Return an id that no run ever had.
        """
        return f"r{self._database.next_number('run'):06d}"

    def reserve_ids(self, up_to: int) -> None:
        """
        Never give an id with a number <= *up_to*: its folder exists already.
        """
        self._database.reserve_numbers("run", up_to=up_to)

    def add(
        self,
        run_id: str,
        kind: RunKind,
        *,
        job_id: str | None = None,
        resumed_from: str | None = None,
    ) -> None:
        """
        Record a run before it is given to a process, so that no such process is unknown.
        """
        self._database.change(
            "INSERT INTO runs (id, kind, job_id, started_at, resumed_from) VALUES (?, ?, ?, ?, ?)",
            (run_id, kind, job_id, utc_now(), resumed_from),
        )

    def note_process(self, run_id: str, *, pid: int, pid_started: float | None) -> None:
        """
        Record the process of a run.

        Args:
            run_id: The run.
            pid: Process id.
            pid_started: When the process began, in seconds since the epoch; None if it is gone.
        """
        self._database.change(
            "UPDATE runs SET pid = ?, pid_started = ? WHERE id = ?", (pid, pid_started, run_id)
        )

    def note_last_step(self, run_id: str, last_step: int) -> None:
        """
        Record how many optimizer steps a job took in all, at the run that finished it.
        """
        self._database.change("UPDATE runs SET last_step = ? WHERE id = ?", (last_step, run_id))

    def end(self, run_id: str, outcome: RunOutcome, *, exit_status: int | None = None) -> None:
        """
        Record the end of a run.

        Args:
            run_id: The run.
            outcome: What it came to.
            exit_status: 0 to 255, or minus the signal that killed it; None if unknown.
        """
        self._database.change(
            "UPDATE runs SET ended_at = ?, exit_status = ?, outcome = ? WHERE id = ?",
            (utc_now(), exit_status, outcome, run_id),
        )
