"""
The truth: one SQLite file that says what was dropped, trained, judged, promoted.

WAL so that anybody may read it while the daemon writes, synchronous=FULL so
that what it acknowledged survives a power cut. Folders are views of it that
recovery rebuilds. No log call and no file access happens inside a transaction.
Does not decide anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.job import JobEvent, JobState, next_state
from finetuned.errors import ModelError
from finetuned.files.run import utc_now

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (
    key TEXT PRIMARY KEY, value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS datasets (
    key TEXT PRIMARY KEY,          -- one claim; sorts by arrival
    name TEXT NOT NULL,            -- as dropped, escaped
    inbox_path BLOB NOT NULL,      -- as dropped, raw bytes
    priority TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    claimed_at TEXT NOT NULL,
    state TEXT NOT NULL,           -- claimed, accepted, duplicate, quarantined, retired
    dataset_id TEXT,               -- first 16 hex digits of sha256
    sha256 TEXT,
    duplicate_of TEXT,             -- key of the earlier dataset
    n_train INTEGER, n_heldout INTEGER,
    reason TEXT,
    job_id TEXT,
    final_path TEXT
);
CREATE INDEX IF NOT EXISTS datasets_state ON datasets (state);
CREATE INDEX IF NOT EXISTS datasets_id ON datasets (dataset_id);
CREATE INDEX IF NOT EXISTS datasets_job ON datasets (job_id);
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    priority TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,   -- failures; stops are free
    parent TEXT,                   -- version it trains on, set at its first run
    config TEXT,                   -- resolved configuration, frozen at its first run
    candidate_run TEXT,
    checkpoint TEXT,               -- last verified checkpoint, relative to models/runs/
    version TEXT,
    error_type TEXT, error_message TEXT,
    reason TEXT,
    retired INTEGER NOT NULL DEFAULT 0     -- its originals are in their last place
);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,            -- ingestion, training, evaluation
    job_id TEXT,
    pid INTEGER, pid_started REAL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    exit_status INTEGER,
    outcome TEXT,
    resumed_from TEXT,
    first_step INTEGER, last_step INTEGER
);
CREATE TABLE IF NOT EXISTS trained (
    job_id TEXT NOT NULL, dataset_id TEXT NOT NULL, run_id TEXT NOT NULL,
    n_examples INTEGER NOT NULL, n_supervised_tokens INTEGER NOT NULL,
    optimizer_steps INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (job_id, dataset_id)
);
CREATE TABLE IF NOT EXISTS evals (
    job_id TEXT NOT NULL, run_id TEXT NOT NULL, subject TEXT NOT NULL, suite TEXT NOT NULL,
    n_rows INTEGER NOT NULL, n_asked INTEGER NOT NULL, n_exact INTEGER NOT NULL,
    loss REAL, complete INTEGER NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (run_id, subject, suite)
);
CREATE TABLE IF NOT EXISTS versions (
    id TEXT PRIMARY KEY,
    parent TEXT,
    job_id TEXT, run_id TEXT,
    verdict TEXT NOT NULL,         -- promoted, rejected
    created_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS promotions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT,                  -- NULL: back to the base model
    cause TEXT NOT NULL,           -- gate, rollback, promote, rebuild
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS commands (
    id TEXT PRIMARY KEY,
    command TEXT NOT NULL, reason TEXT NOT NULL,
    received_at TEXT NOT NULL, obeyed_at TEXT, outcome TEXT
);
"""


class Journal:
    """
    The journal of one root, opened for writing by its owner.

    Every public method is one transaction: after a crash all of it happened or
    none. Rows come back as plain dicts.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create.

        Raises:
            ModelError: The file is not a sound journal; see ``rebuild`` in docs.
            sqlite3.OperationalError: The file system refused.
        """
        self.path = path
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            problem = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise ModelError(f"{path}: corrupt journal: {problem}")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise ModelError(f"{path}: corrupt journal: {error}") from error
        with self._write():
            if self._setting("schema_version") is None:
                self._set("schema_version", str(SCHEMA_VERSION))
        found = self._setting("schema_version")
        if found != str(SCHEMA_VERSION):
            raise ModelError(f"{path}: schema {found}, this program knows {SCHEMA_VERSION}")

    def close(self) -> None:
        """
        Close the connection; what was committed stays.
        """
        self._db.close()

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _rows(self, sql: str, args: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self._db.execute(sql, args)]

    def _row(self, sql: str, args: Sequence[Any] = ()) -> dict[str, Any] | None:
        row = self._db.execute(sql, args).fetchone()
        return None if row is None else dict(row)

    # -- settings ---------------------------------------------------------------

    def _setting(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, key: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2",
            (key, value),
        )

    def paused(self) -> str | None:
        """
        Return the reason of the pause in force ("" when none was given), or None.
        """
        return self._setting("paused")

    def set_paused(self, reason: str | None) -> None:
        """
        Begin a pause for *reason*, or end it with None.
        """
        with self._write():
            if reason is None:
                self._db.execute("DELETE FROM settings WHERE key = 'paused'")
            else:
                self._set("paused", reason)

    def next_number(self, name: str, *, floor: int = 0, count: int = 1) -> int:
        """
        Return the first of *count* numbers never given before under *name*, above *floor*.
        """
        with self._write():
            last = max(int(self._setting(f"last_{name}") or 0), floor)
            self._set(f"last_{name}", str(last + count))
        return last + 1

    # -- datasets ---------------------------------------------------------------

    def add_datasets(self, rows: Sequence[dict[str, Any]]) -> None:
        """
        Record claims: ``key, name, inbox_path, priority, bytes``. Known keys are left alone.
        """
        now = utc_now()
        with self._write():
            self._db.executemany(
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
            return self._rows("SELECT * FROM datasets ORDER BY key LIMIT ?", (limit,))
        return self._rows(
            "SELECT * FROM datasets WHERE state = ? ORDER BY key LIMIT ?", (state, limit)
        )

    def dataset(self, key: str) -> dict[str, Any] | None:
        """
        Return one dataset, or None.
        """
        return self._row("SELECT * FROM datasets WHERE key = ?", (key,))

    def dataset_keys(self) -> set[str]:
        """
        Return the key of every claim ever recorded.
        """
        return {row[0] for row in self._db.execute("SELECT key FROM datasets")}

    def count_datasets(self) -> dict[str, int]:
        """
        Return how many datasets are in each state.
        """
        return {
            str(state): int(n)
            for state, n in self._db.execute("SELECT state, count(*) FROM datasets GROUP BY state")
        }

    def find_dataset(self, dataset_id: str, *, before: str) -> dict[str, Any] | None:
        """
        Return the earliest dataset with these bytes that was accepted before claim *before*.

        One whose job failed or was skipped does not count: dropping its bytes
        again is how a person asks for another try.
        """
        return self._row(
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
        self._update("datasets", "key", key, columns)

    def forget_claim(self, key: str) -> None:
        """
        Drop the record of a claim whose file went back to the inbox.
        """
        with self._write():
            self._db.execute("DELETE FROM datasets WHERE key = ? AND state = 'claimed'", (key,))

    def accepted_without_job(self) -> list[dict[str, Any]]:
        """
        Return validated datasets that wait for a job, by arrival.
        """
        return self._rows(
            "SELECT * FROM datasets WHERE state = 'accepted' AND job_id IS NULL ORDER BY key"
        )

    def job_datasets(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return the datasets of one job, in training order.
        """
        return self._rows("SELECT * FROM datasets WHERE job_id = ? ORDER BY key", (job_id,))

    def earlier_dataset_ids(self, job_id: str) -> list[str]:
        """
        Return ids of datasets that promoted jobs trained, without those of *job_id*.
        """
        rows = self._db.execute(
            "SELECT DISTINCT t.dataset_id FROM trained t JOIN jobs j ON j.id = t.job_id"
            " WHERE j.state = 'promoted' AND t.dataset_id NOT IN"
            " (SELECT dataset_id FROM datasets WHERE job_id = ? AND dataset_id IS NOT NULL)"
            " ORDER BY t.at, t.dataset_id",
            (job_id,),
        )
        return [str(row[0]) for row in rows]

    # -- jobs -------------------------------------------------------------------

    def _update(self, table: str, key: str, value: str, columns: dict[str, Any]) -> None:
        # Column names come from this program only, never from input.
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with self._write():
            self._db.execute(
                f"UPDATE {table} SET {assignments} WHERE {key} = :_key",  # noqa: S608
                {**columns, "_key": value},
            )

    def add_job(self, job_id: str, priority: str, keys: Sequence[str]) -> None:
        """
        Make a queued job of the datasets *keys*.
        """
        now = utc_now()
        with self._write():
            self._db.execute(
                "INSERT INTO jobs (id, priority, state, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (job_id, priority, JobState.QUEUED, now, now),
            )
            self._db.executemany(
                "UPDATE datasets SET job_id = ? WHERE key = ?", [(job_id, key) for key in keys]
            )

    def job(self, job_id: str) -> dict[str, Any]:
        """
        Return one job.

        Raises:
            KeyError: There is none of that name.
        """
        row = self._row("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None:
            raise KeyError(job_id)
        return row

    def jobs(self, *states: JobState) -> list[dict[str, Any]]:
        """
        Return jobs by age, optionally of some states.
        """
        if not states:
            return self._rows("SELECT * FROM jobs ORDER BY id")
        marks = ", ".join("?" * len(states))
        return self._rows(
            f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY id",  # noqa: S608
            states,
        )

    def count_jobs(self) -> dict[str, int]:
        """
        Return how many jobs are in each state.
        """
        return {
            str(state): int(n)
            for state, n in self._db.execute("SELECT state, count(*) FROM jobs GROUP BY state")
        }

    def unretired_jobs(self) -> list[dict[str, Any]]:
        """
        Return finished jobs whose originals are not in their last place yet.
        """
        return self._rows(
            "SELECT * FROM jobs WHERE retired = 0"
            " AND state IN ('promoted', 'rejected', 'skipped', 'failed') ORDER BY id"
        )

    def _move(
        self, job_id: str, event: JobEvent, columns: dict[str, Any]
    ) -> tuple[JobState, JobState]:
        row = self._db.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        old = JobState(row[0])
        new = next_state(old, event)
        values = {**columns, "state": new, "updated_at": utc_now()}
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        self._db.execute(
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
        with self._write():
            return self._move(job_id, event, columns)

    def update_job(self, job_id: str, **columns: Any) -> None:
        """
        Set columns of one job; never its state (move_job does that).
        """
        self._update("jobs", "id", job_id, columns)

    # -- runs -------------------------------------------------------------------

    def add_run(self, run_id: str, kind: str, job_id: str | None, resumed_from: str | None) -> None:
        """
        Record a run before its process is born, so that no process is unknown.
        """
        with self._write():
            self._db.execute(
                "INSERT INTO runs (id, kind, job_id, started_at, resumed_from)"
                " VALUES (?, ?, ?, ?, ?)",
                (run_id, kind, job_id, utc_now(), resumed_from),
            )

    def update_run(self, run_id: str, **columns: Any) -> None:
        """
        Set columns of one run.
        """
        self._update("runs", "id", run_id, columns)

    def open_runs(self) -> list[dict[str, Any]]:
        """
        Return runs that have no end recorded.
        """
        return self._rows("SELECT * FROM runs WHERE ended_at IS NULL ORDER BY id")

    def job_runs(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return the runs of one job, oldest first.
        """
        return self._rows("SELECT * FROM runs WHERE job_id = ? ORDER BY id", (job_id,))

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
        with self._write():
            self._db.executemany(
                "INSERT OR REPLACE INTO trained VALUES (:job_id, :dataset_id, :run_id,"
                " :n_examples, :n_supervised_tokens, :optimizer_steps, :at)",
                [{**row, "job_id": job_id, "run_id": run_id, "at": now} for row in rows],
            )
            self._db.execute("UPDATE runs SET last_step = ? WHERE id = ?", (last_step, run_id))
            self._move(job_id, JobEvent.FINISH, {"candidate_run": run_id})

    def add_evals(self, job_id: str, run_id: str, rows: Sequence[dict[str, Any]]) -> None:
        """
        Record the scores of one evaluation run.
        """
        now = utc_now()
        with self._write():
            self._db.executemany(
                "INSERT OR REPLACE INTO evals VALUES (:job_id, :run_id, :subject, :suite,"
                " :n_rows, :n_asked, :n_exact, :loss, :complete, :at)",
                [{**row, "job_id": job_id, "run_id": run_id, "at": now} for row in rows],
            )

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
        with self._write():
            _, new = self._move(job_id, event, {"version": version, "reason": reason})
            run_id = self._db.execute(
                "SELECT candidate_run FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()[0]
            self._db.execute(
                "INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?, ?)",
                (version, parent, job_id, run_id, verdict, now),
            )
            if new is JobState.PROMOTED:
                self._db.execute(
                    "INSERT INTO promotions (version, cause, at) VALUES (?, 'gate', ?)",
                    (version, now),
                )

    def restore_version(self, version: str, manifest: dict[str, Any]) -> None:
        """
        Record a version, its job and its datasets from the version's own manifest.

        For a journal that is made again; what is recorded already is left alone.
        """
        job_id = manifest.get("job_id") or f"job-of-{version}"
        verdict = manifest.get("verdict") or "promoted"
        at = manifest.get("created_at") or utc_now()
        state = JobState.PROMOTED if verdict == "promoted" else JobState.REJECTED
        with self._write():
            self._db.execute(
                "INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?, ?)",
                (version, manifest.get("parent"), job_id, manifest.get("run_id"), verdict, at),
            )
            self._db.execute(
                "INSERT OR IGNORE INTO jobs (id, priority, state, created_at, updated_at, version,"
                " parent, candidate_run, retired) VALUES (?, 'normal', ?, ?, ?, ?, ?, ?, 1)",
                (job_id, state, at, at, version, manifest.get("parent"), manifest.get("run_id")),
            )
            for i, dataset in enumerate(manifest.get("datasets") or []):
                self._db.execute(
                    "INSERT OR IGNORE INTO trained VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        job_id,
                        dataset["dataset_id"],
                        manifest.get("run_id") or "",
                        dataset.get("n_examples", 0),
                        dataset.get("n_supervised_tokens", 0),
                        manifest.get("job_steps", 0),
                        at,
                    ),
                )
                self._db.execute(
                    "INSERT OR IGNORE INTO datasets (key, name, inbox_path, priority, bytes,"
                    " claimed_at, state, dataset_id, sha256, job_id)"
                    " VALUES (?, ?, ?, 'normal', 0, ?, 'retired', ?, ?, ?)",
                    (
                        f"{version}-{i:06d}",
                        dataset.get("name", ""),
                        b"",
                        at,
                        dataset["dataset_id"],
                        dataset.get("sha256"),
                        job_id,
                    ),
                )
            for name, number in (("job", job_id[1:]), ("run", (manifest.get("run_id") or "")[1:])):
                if number.isdigit() and int(number) > int(self._setting(f"last_{name}") or 0):
                    self._set(f"last_{name}", number.lstrip("0") or "0")

    def versions(self) -> list[dict[str, Any]]:
        """
        Return every version ever recorded, by id.
        """
        return self._rows("SELECT * FROM versions ORDER BY length(id), id")

    def incumbent(self) -> str | None:
        """
        Return the version that current_model has to point at; None is the base model.
        """
        row = self._row("SELECT version FROM promotions ORDER BY seq DESC LIMIT 1")
        return None if row is None else row["version"]

    def has_promotions(self) -> bool:
        """
        Return whether an incumbent was ever decided on.
        """
        return self._row("SELECT 1 FROM promotions LIMIT 1") is not None

    def set_incumbent(self, version: str | None, cause: str) -> None:
        """
        Decide on the incumbent; the symlink follows, at once or in recovery.
        """
        with self._write():
            self._db.execute(
                "INSERT INTO promotions (version, cause, at) VALUES (?, ?, ?)",
                (version, cause, utc_now()),
            )

    # -- commands ---------------------------------------------------------------

    def add_command(self, order_id: str, command: str, reason: str) -> bool:
        """
        Record a received order; False when it was recorded before.
        """
        with self._write():
            done = self._db.execute(
                "INSERT OR IGNORE INTO commands (id, command, reason, received_at)"
                " VALUES (?, ?, ?, ?)",
                (order_id, command, reason, utc_now()),
            )
            return done.rowcount == 1

    def finish_command(self, order_id: str, outcome: str) -> None:
        """
        Record that an order was obeyed, or why it had nothing to do.
        """
        self._update("commands", "id", order_id, {"obeyed_at": utc_now(), "outcome": outcome})


def dump_config(config: dict[str, Any]) -> str:
    """
    Return a configuration as the text that ``jobs.config`` holds.
    """
    return orjson.dumps(config).decode()
