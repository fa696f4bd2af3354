"""
Jobs in the journal: queued, moved along the table of core.job, retired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from finetuned.config import Config
from finetuned.core.job import JobEvent, JobKind, JobState, next_state
from finetuned.core.notice import OF_JOB
from finetuned.files.database import Database
from finetuned.files.rows import JobRow
from finetuned.files.run import utc_now
from finetuned.files.tables.notices import Notices
from finetuned.layout import Priority


@dataclass(frozen=True, slots=True)
class JobMove:
    """
    One step of a job along the table of core.job, as it was recorded.
    """

    job_id: str
    event: JobEvent
    old: JobState
    new: JobState


@dataclass(frozen=True, slots=True)
class JobFailure:
    """
    Why a run of a job failed, and how many have by now.
    """

    error_type: str
    error_message: str
    attempts: int
    """Failed runs of the job, this one included, >= 1."""


class Jobs:
    """
    The table ``jobs``. Every method that changes it is one transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading ----------------------------------------------------------------

    def get(self, job_id: str) -> JobRow:
        """
        Return one job.

        Raises:
            KeyError: There is none of that name.
        """
        row = self._database.read_one(JobRow, "SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise KeyError(job_id)
        return row

    def in_states(self, *states: JobState) -> list[JobRow]:
        """
        Return the jobs in any of *states*, by age; without arguments all jobs.
        """
        wanted = states or tuple(JobState)
        marks = ", ".join("?" * len(wanted))
        return self._database.read(
            JobRow,
            f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY id",  # noqa: S608
            wanted,
        )

    def unretired(self) -> list[JobRow]:
        """
        Return finished jobs whose originals are not in their last place yet, by age.
        """
        return self._database.read(
            JobRow,
            "SELECT * FROM jobs WHERE retired = 0"
            " AND state IN ('promoted', 'held', 'rejected', 'skipped', 'failed') ORDER BY id",
        )

    def of_dataset(self, key: str) -> list[JobRow]:
        """
        Return every job that a dataset was ever given to, oldest first.
        """
        return self._database.read(
            JobRow,
            "SELECT j.* FROM jobs j JOIN dataset_jobs g ON g.job_id = j.id WHERE g.key = ?"
            " ORDER BY j.id",
            (key,),
        )

    def file_names(self) -> list[tuple[str, str]]:
        """
        Return the job and the file name of every dataset that was given to a job, by job.
        """
        found = self._database.db.execute(
            "SELECT g.job_id, d.name FROM dataset_jobs g JOIN datasets d ON d.key = g.key"
            " ORDER BY g.job_id, d.key"
        )
        return [(str(job_id), str(name)) for job_id, name in found]

    def counts(self) -> dict[JobState, int]:
        """
        Return how many jobs are in each state; states without one are left out.
        """
        return self._database.counts("jobs", JobState)

    def promotions_since_merge(self) -> int:
        """
        Return how many trainings were promoted after the last merge that training goes on from.
        """
        row = self._database.db.execute(
            "SELECT count(*) FROM jobs WHERE state = 'promoted' AND kind = 'training' AND id >"
            " coalesce((SELECT max(id) FROM jobs"
            " WHERE state IN ('promoted', 'held') AND kind = 'consolidation'), '')"
        ).fetchone()
        return int(row[0])

    # -- writing ----------------------------------------------------------------

    def add(
        self, priority: Priority, keys: Sequence[str], *, kind: JobKind = JobKind.TRAINING
    ) -> str:
        """
        Make a queued job of the datasets *keys*, of none for a merge; return its id.
        """
        now = utc_now()
        with self._database.write() as db:
            job_id = f"j{self._database.next_number('job'):06d}"
            db.execute(
                "INSERT INTO jobs (id, kind, priority, state, created_at, updated_at)"
                " VALUES (?, ?, ?, 'queued', ?, ?)",
                (job_id, kind, priority, now, now),
            )
            db.executemany(
                "UPDATE datasets SET job_id = ? WHERE key = ?", [(job_id, key) for key in keys]
            )
            db.executemany(
                "INSERT INTO dataset_jobs (job_id, key) VALUES (?, ?)",
                [(job_id, key) for key in keys],
            )
        return job_id

    def take_from(self, job_id: str, keys: Sequence[str]) -> None:
        """
        Record that a job that has not begun never had the datasets *keys*: it will not learn them.
        """
        with self._database.write() as db:
            db.executemany(
                "DELETE FROM dataset_jobs WHERE job_id = ? AND key = ?",
                [(job_id, key) for key in keys],
            )

    def begin(self, job_id: str, *, config: Config, parent: str | None) -> JobRow:
        """
        Record what all runs of a job use, *config* and the version to train on; return the job.
        """
        self._database.change(
            "UPDATE jobs SET config = ?, parent = ? WHERE id = ?",
            (orjson.dumps(config.as_dict()).decode(), parent, job_id),
        )
        return self.get(job_id)

    def forget_config(self, job_id: str) -> None:
        """
        Let the next run of a job begin with the configuration and the version of that time.
        """
        self._database.change("UPDATE jobs SET config = NULL WHERE id = ?", (job_id,))

    def move(
        self,
        job_id: str,
        event: JobEvent,
        *,
        reason: str | None = None,
        failure: JobFailure | None = None,
        candidate_run: str | None = None,
        version: str | None = None,
    ) -> JobMove:
        """
        Move one job along the table of core.job, with what is recorded beside its state.

        Args:
            job_id: The job.
            event: What happened to it.
            reason: Why a person or the gate said so; None leaves what is recorded.
            failure: Likewise, of a run that failed.
            candidate_run: Likewise, the run whose folder holds the candidate.
            version: Likewise, the version that the candidate became.

        Raises:
            InvalidTransition: *event* cannot happen in its state; nothing was changed.
        """
        with self._database.write() as db:
            old = self.get(job_id).state
            new = next_state(old, event)
            db.execute(
                "UPDATE jobs SET state = :state, updated_at = :now,"
                " reason = coalesce(:reason, reason),"
                " attempts = coalesce(:attempts, attempts),"
                " error_type = coalesce(:error_type, error_type),"
                " error_message = coalesce(:error_message, error_message),"
                " candidate_run = coalesce(:candidate_run, candidate_run),"
                " version = coalesce(:version, version) WHERE id = :id",
                {
                    "id": job_id,
                    "state": new,
                    "now": utc_now(),
                    "reason": reason,
                    "attempts": failure and failure.attempts,
                    "error_type": failure and failure.error_type,
                    "error_message": failure and failure.error_message,
                    "candidate_run": candidate_run,
                    "version": version,
                },
            )
            if new in OF_JOB:
                job = self.get(job_id)
                detail = reason or (failure and failure.error_message) or job.reason or ""
                Notices(self._database).add(OF_JOB[new], detail, job_id=job_id, version=job.version)
        return JobMove(job_id, event, old, new)

    def start_over(self, job_id: str) -> None:
        """
        Let a job begin again from the head: what its runs left does not count.
        """
        with self._database.write() as db:
            db.execute("UPDATE runs SET outcome = 'superseded' WHERE job_id = ?", (job_id,))
            db.execute("UPDATE jobs SET config = NULL, parent = NULL WHERE id = ?", (job_id,))

    def retrain(self, job_id: str, reason: str, *, second_try: bool = False) -> JobMove:
        """
        Send a trained or evaluated job back to the queue, to begin again from the head.

        Args:
            job_id: The job.
            reason: Why.
            second_try: Whether it gets more rehearsal from now on.

        Raises:
            InvalidTransition: It is neither; nothing was changed.
        """
        with self._database.write():
            self.start_over(job_id)
            if second_try:
                self._database.change("UPDATE jobs SET second_try = 1 WHERE id = ?", (job_id,))
            return self.move(job_id, JobEvent.RETRAIN, reason=reason)

    def retire(self, job_id: str) -> None:
        """
        Record that the originals of a finished job are in their last place.
        """
        self._database.change("UPDATE jobs SET retired = 1 WHERE id = ?", (job_id,))

    def restore(
        self,
        job_id: str,
        *,
        kind: JobKind,
        state: JobState,
        version: str,
        parent: str | None,
        candidate_run: str | None,
        reason: str | None,
        at: str,
    ) -> None:
        """
        Record a job of which only its version's manifest knows; a recorded one is left alone.

        Args:
            job_id: Its id, or a name made from the version's.
            kind: Training or merge.
            state: PROMOTED, HELD or REJECTED.
            version: The version that its candidate became.
            parent: The version that it was trained on; None is the base model.
            candidate_run: The run that left the candidate, if known.
            reason: Why the gate decided so, if known.
            at: RFC 3339 UTC of the version.
        """
        self._database.change(
            "INSERT OR IGNORE INTO jobs (id, kind, priority, state, created_at, updated_at,"
            " version, parent, candidate_run, reason, retired)"
            " VALUES (?, ?, 'normal', ?, ?, ?, ?, ?, ?, ?, 1)",
            (job_id, kind, state, at, at, version, parent, candidate_run, reason),
        )

    def reserve_ids(self, up_to: int) -> None:
        """
        Never give an id with a number <= *up_to*.
        """
        self._database.reserve_numbers("job", up_to=up_to)
