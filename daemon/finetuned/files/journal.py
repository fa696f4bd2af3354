"""
The truth: what was dropped, trained, judged and promoted, as transactions.

Every public method is one transaction: after a crash all of it happened or
none. Folders are views that recovery rebuilds. No log call and no file access
happens inside a transaction. Does not decide anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from finetuned.core.job import JobEvent, JobKind, JobState, next_state
from finetuned.files.database import Database
from finetuned.files.run import utc_now


class Journal(Database):
    """
    The journal of one root.
    """

    # -- settings ---------------------------------------------------------------

    def paused(self) -> str | None:
        """
        Return the reason of the pause in force ("" when none was given), or None.
        """
        return self.setting("paused")

    def set_paused(self, reason: str | None) -> None:
        """
        Begin a pause for *reason*, or end it with None.
        """
        with self.write():
            if reason is None:
                self.db.execute("DELETE FROM settings WHERE key = 'paused'")
            else:
                self.set_setting("paused", reason)

    def next_number(self, name: str, *, floor: int = 0, count: int = 1) -> int:
        """
        Return the first of *count* numbers never given before under *name*, above *floor*.
        """
        with self.write():
            last = max(int(self.setting(f"last_{name}") or 0), floor)
            self.set_setting(f"last_{name}", str(last + count))
        return last + 1

    # -- datasets ---------------------------------------------------------------

    def add_datasets(self, rows: Sequence[dict[str, Any]]) -> None:
        """
        Record claims: ``key, name, inbox_path, priority, bytes``. Known keys are left alone.
        """
        now = utc_now()
        with self.write():
            self.db.executemany(
                "INSERT OR IGNORE INTO datasets"
                " (key, name, inbox_path, priority, bytes, claimed_at, state)"
                " VALUES (:key, :name, :inbox_path, :priority, :bytes, :now, 'claimed')",
                [{**row, "now": now} for row in rows],
            )

    def datasets(self, state: str | None = None, limit: int = -1) -> list[dict[str, Any]]:
        """
        Return datasets by arrival, optionally of one state.
        """
        if state is None:
            return self.rows("SELECT * FROM datasets ORDER BY key LIMIT ?", (limit,))
        return self.rows(
            "SELECT * FROM datasets WHERE state = ? ORDER BY key LIMIT ?", (state, limit)
        )

    def dataset(self, key: str) -> dict[str, Any] | None:
        """
        Return one dataset, or None.
        """
        return self.row("SELECT * FROM datasets WHERE key = ?", (key,))

    def dataset_keys(self) -> set[str]:
        """
        Return the key of every claim ever recorded.
        """
        return {row[0] for row in self.db.execute("SELECT key FROM datasets")}

    def count_datasets(self) -> dict[str, int]:
        """
        Return how many datasets are in each state.
        """
        return {
            str(state): int(n)
            for state, n in self.db.execute("SELECT state, count(*) FROM datasets GROUP BY state")
        }

    def find_dataset(self, dataset_id: str, *, before: str) -> dict[str, Any] | None:
        """
        Return the earliest dataset with these bytes that was accepted before claim *before*.

        One whose job failed or was skipped does not count: dropping its bytes
        again is how a person asks for another try.
        """
        return self.row(
            "SELECT d.* FROM datasets d LEFT JOIN jobs j ON j.id = d.job_id"
            " WHERE d.dataset_id = ? AND d.key < ? AND d.state IN ('accepted', 'retired')"
            " AND d.duplicate_of IS NULL AND d.job_id IS NOT NULL"
            " AND j.state NOT IN ('failed', 'skipped') ORDER BY d.key LIMIT 1",
            (dataset_id, before),
        )

    def update_dataset(self, key: str, **columns: Any) -> None:
        """
        Set columns of one dataset.
        """
        self.update("datasets", "key", key, columns)

    def forget_claim(self, key: str) -> None:
        """
        Drop the record of a claim whose file went back to the inbox.
        """
        with self.write():
            self.db.execute("DELETE FROM datasets WHERE key = ? AND state = 'claimed'", (key,))

    def accepted_without_job(self) -> list[dict[str, Any]]:
        """
        Return validated datasets that wait for a job, by arrival.
        """
        return self.rows(
            "SELECT * FROM datasets WHERE state = 'accepted' AND job_id IS NULL ORDER BY key"
        )

    def job_datasets(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return the datasets of one job, in training order.
        """
        return self.rows("SELECT * FROM datasets WHERE job_id = ? ORDER BY key", (job_id,))

    def earlier_datasets(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return id and name of datasets that promoted jobs trained, without those of *job_id*.
        """
        return self.rows(
            "SELECT t.dataset_id, min(d.name) AS name FROM trained t"
            " JOIN jobs j ON j.id = t.job_id LEFT JOIN datasets d ON d.dataset_id = t.dataset_id"
            " WHERE j.state = 'promoted' AND t.dataset_id NOT IN"
            " (SELECT dataset_id FROM datasets WHERE job_id = ? AND dataset_id IS NOT NULL)"
            " GROUP BY t.dataset_id ORDER BY min(t.at), t.dataset_id",
            (job_id,),
        )

    # -- jobs -------------------------------------------------------------------

    def add_job(
        self, job_id: str, priority: str, keys: Sequence[str], *, kind: JobKind = JobKind.TRAINING
    ) -> None:
        """
        Make a queued job of the datasets *keys*; of none for a consolidation.
        """
        now = utc_now()
        with self.write():
            self.db.execute(
                "INSERT INTO jobs (id, kind, priority, state, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (job_id, kind, priority, JobState.QUEUED, now, now),
            )
            self.db.executemany(
                "UPDATE datasets SET job_id = ? WHERE key = ?", [(job_id, key) for key in keys]
            )

    def job(self, job_id: str) -> dict[str, Any]:
        """
        Return one job.

        Raises:
            KeyError: There is none of that name.
        """
        row = self.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise KeyError(job_id)
        return row

    def jobs(self, *states: JobState) -> list[dict[str, Any]]:
        """
        Return jobs by age, optionally of some states.
        """
        if not states:
            return self.rows("SELECT * FROM jobs ORDER BY id")
        marks = ", ".join("?" * len(states))
        return self.rows(
            f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY id",  # noqa: S608
            states,
        )

    def count_jobs(self) -> dict[str, int]:
        """
        Return how many jobs are in each state.
        """
        return {
            str(state): int(n)
            for state, n in self.db.execute("SELECT state, count(*) FROM jobs GROUP BY state")
        }

    def unretired_jobs(self) -> list[dict[str, Any]]:
        """
        Return finished jobs whose originals are not in their last place yet.
        """
        return self.rows(
            "SELECT * FROM jobs WHERE retired = 0"
            " AND state IN ('promoted', 'rejected', 'skipped', 'failed') ORDER BY id"
        )

    def _move(
        self, job_id: str, event: JobEvent, columns: dict[str, Any]
    ) -> tuple[JobState, JobState]:
        row = self.db.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        old = JobState(row[0])
        new = next_state(old, event)
        values = {**columns, "state": new, "updated_at": utc_now()}
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        self.db.execute(
            f"UPDATE jobs SET {assignments} WHERE id = :_id",  # noqa: S608
            {**values, "_id": job_id},
        )
        return old, new

    def move_job(self, job_id: str, event: JobEvent, **columns: Any) -> tuple[JobState, JobState]:
        """
        Move one job along the table of core.job, setting *columns* in the same transaction.

        Returns:
            The old and the new state.

        Raises:
            InvalidTransition: Nothing was changed.
        """
        with self.write():
            return self._move(job_id, event, columns)

    def update_job(self, job_id: str, **columns: Any) -> None:
        """
        Set columns of one job; never its state (move_job does that).
        """
        self.update("jobs", "id", job_id, columns)

    # -- runs -------------------------------------------------------------------

    def add_run(self, run_id: str, kind: str, job_id: str | None, resumed_from: str | None) -> None:
        """
        Record a run before its process is born, so that no process is unknown.
        """
        with self.write():
            self.db.execute(
                "INSERT INTO runs (id, kind, job_id, started_at, resumed_from)"
                " VALUES (?, ?, ?, ?, ?)",
                (run_id, kind, job_id, utc_now(), resumed_from),
            )

    def update_run(self, run_id: str, **columns: Any) -> None:
        """
        Set columns of one run.
        """
        self.update("runs", "id", run_id, columns)

    def open_runs(self) -> list[dict[str, Any]]:
        """
        Return runs that have no end recorded.
        """
        return self.rows("SELECT * FROM runs WHERE ended_at IS NULL ORDER BY id")

    def job_runs(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return the runs of one job, oldest first.
        """
        return self.rows("SELECT * FROM runs WHERE job_id = ? ORDER BY id", (job_id,))

    # -- evidence ---------------------------------------------------------------

    def finish_training(
        self, job_id: str, run_id: str, rows: Sequence[dict[str, Any]], *, last_step: int
    ) -> None:
        """
        Record, in one step, that a run left a candidate and what it was trained on.

        Args:
            job_id: The job, in TRAINING.
            run_id: The run whose folder holds the candidate.
            rows: Per dataset ``dataset_id, n_examples, n_supervised_tokens, optimizer_steps``.
            last_step: Optimizer steps of the whole job, > 0.
        """
        now = utc_now()
        with self.write():
            self.db.executemany(
                "INSERT OR REPLACE INTO trained VALUES (:job_id, :dataset_id, :run_id,"
                " :n_examples, :n_supervised_tokens, :optimizer_steps, :at)",
                [{**row, "job_id": job_id, "run_id": run_id, "at": now} for row in rows],
            )
            self.db.execute("UPDATE runs SET last_step = ? WHERE id = ?", (last_step, run_id))
            self._move(job_id, JobEvent.FINISH, {"candidate_run": run_id})

    # -- versions ---------------------------------------------------------------

    def conclude(
        self, job_id: str, event: JobEvent, *, version: str, parent: str | None, reason: str
    ) -> None:
        """
        Record the gate's verdict in one step: version, job and, if promoted, incumbent.

        Args:
            job_id: The job, in EVALUATING.
            event: ACCEPT or REJECT.
            version: The committed version folder of its candidate.
            parent: The version it was trained on; None is the base model.
            reason: What the gate saw.
        """
        verdict = "promoted" if event is JobEvent.ACCEPT else "rejected"
        now = utc_now()
        with self.write():
            _, new = self._move(job_id, event, {"version": version, "reason": reason})
            run_id = self.db.execute(
                "SELECT candidate_run FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()[0]
            self.db.execute(
                "INSERT OR IGNORE INTO versions (id, parent, job_id, run_id, verdict, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (version, parent, job_id, run_id, verdict, now),
            )
            if new is JobState.PROMOTED:
                self.db.execute(
                    "INSERT INTO promotions (version, cause, at) VALUES (?, 'gate', ?)",
                    (version, now),
                )

    def versions(self) -> list[dict[str, Any]]:
        """
        Return every version ever recorded, by id.
        """
        return self.rows("SELECT * FROM versions ORDER BY length(id), id")

    def incumbent(self) -> str | None:
        """
        Return the version that current_model has to point at; None is the base model.
        """
        row = self.row("SELECT version FROM promotions ORDER BY seq DESC LIMIT 1")
        return None if row is None else row["version"]

    def has_promotions(self) -> bool:
        """
        Return whether an incumbent was ever decided on.
        """
        return self.row("SELECT 1 FROM promotions LIMIT 1") is not None

    def set_incumbent(self, version: str | None, cause: str) -> None:
        """
        Decide on the incumbent; the symlink follows, at once or in recovery.
        """
        with self.write():
            self.db.execute(
                "INSERT INTO promotions (version, cause, at) VALUES (?, ?, ?)",
                (version, cause, utc_now()),
            )

    # -- commands ---------------------------------------------------------------

    def add_command(self, order_id: str, command: str, reason: str) -> bool:
        """
        Record a received order; False when it was recorded before.
        """
        with self.write():
            done = self.db.execute(
                "INSERT OR IGNORE INTO commands (id, command, reason, received_at)"
                " VALUES (?, ?, ?, ?)",
                (order_id, command, reason, utc_now()),
            )
            return done.rowcount == 1

    def finish_command(self, order_id: str, outcome: str) -> None:
        """
        Record that an order was obeyed, or why it had nothing to do.
        """
        self.update("commands", "id", order_id, {"obeyed_at": utc_now(), "outcome": outcome})


def dump_config(config: dict[str, Any]) -> str:
    """
    Return a configuration as the text that ``jobs.config`` holds.
    """
    return orjson.dumps(config).decode()
