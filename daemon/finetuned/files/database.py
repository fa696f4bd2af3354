"""
One SQLite file of ours: opened, checked, its tables made, its transactions.

WAL so that anybody may read it while the daemon writes, synchronous=FULL so
that what it acknowledged survives a power cut. Knows the tables; what is
written into them, and when, is journal.py's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetuned.errors import ConfigError, ModelError

SCHEMA_VERSION = 2

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


_MIGRATIONS: dict[int, str] = {
    # What was evaluated before has marks of exact match only.
    1: """
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'training';
ALTER TABLE evals ADD COLUMN version TEXT;
ALTER TABLE evals ADD COLUMN origin TEXT;
ALTER TABLE evals ADD COLUMN title TEXT;
ALTER TABLE evals ADD COLUMN n_correct INTEGER;
ALTER TABLE evals ADD COLUMN stop_rate REAL;
ALTER TABLE evals ADD COLUMN n_timed_out INTEGER;
UPDATE evals SET n_correct = n_exact, origin = suite, title = suite;
CREATE INDEX evals_job ON evals (job_id);
CREATE INDEX jobs_version ON jobs (version);
CREATE VIEW matrix AS
    SELECT j.version, j.id AS job_id, j.state, e.suite, e.title, e.origin,
           CAST(e.n_correct AS REAL) / NULLIF(e.n_asked, 0) AS accuracy,
           e.n_asked, e.loss, e.at
    FROM evals e JOIN jobs j ON j.id = e.job_id
    WHERE e.subject = 'candidate' AND j.version IS NOT NULL;
""",
}
"""From one schema to the next. A new file begins at 1 and goes the same way."""


class Database:
    """
    The file, opened for writing by its owner. Rows come back as plain dicts.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create.

        Raises:
            ModelError: The file is not a sound journal; see ``rebuild`` in docs.
            ConfigError: A later version of this program wrote it; it is untouched.
            sqlite3.OperationalError: The file system refused.
        """
        self.path = path
        self.db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.execute("PRAGMA foreign_keys=ON")
            problem = self.db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise ModelError(f"{path}: corrupt journal: {problem}")
            self.db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            self.db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise ModelError(f"{path}: corrupt journal: {error}") from error
        try:
            self._migrate()
        except BaseException:
            self.db.close()
            raise

    def _migrate(self) -> None:
        """Bring the tables to SCHEMA_VERSION, each step in one transaction with its number."""
        with self.write():
            if self.setting("schema_version") is None:
                self.set_setting("schema_version", "1")
        while (found := int(self.setting("schema_version") or 0)) in _MIGRATIONS:
            with self.write():
                for statement in filter(str.strip, _MIGRATIONS[found].split(";\n")):
                    self.db.execute(statement)
                self.set_setting("schema_version", str(found + 1))
        if found != SCHEMA_VERSION:
            raise ConfigError(
                f"{self.path} was written by a later version of this program (schema {found}, "
                f"known here {SCHEMA_VERSION}); update the program, or move the file away to have "
                "the journal made again from the versions"
            )

    def close(self) -> None:
        """
        Close the connection; what was committed stays.
        """
        self.db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def rows(self, sql: str, args: Sequence[Any] = ()) -> list[dict[str, Any]]:
        return [dict(row) for row in self.db.execute(sql, args)]

    def row(self, sql: str, args: Sequence[Any] = ()) -> dict[str, Any] | None:
        row = self.db.execute(sql, args).fetchone()
        return None if row is None else dict(row)

    def setting(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, key: str, value: str) -> None:
        self.db.execute(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2",
            (key, value),
        )

    def update(self, table: str, key: str, value: str, columns: dict[str, Any]) -> None:
        # Column names come from this program only, never from input.
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with self.write():
            self.db.execute(
                f"UPDATE {table} SET {assignments} WHERE {key} = :_key",  # noqa: S608
                {**columns, "_key": value},
            )
