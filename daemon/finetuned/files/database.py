"""
One SQLite file of ours: opened, checked, its tables made, its transactions.

WAL so that anybody may read it while the daemon writes, synchronous=FULL so
that what it acknowledged survives a power cut. Knows the tables; what is
written into them, and when, is decided in files/tables/.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from finetuned.errors import ConfigError, ModelError
from finetuned.files.row_reader import R, W, read_rows, read_word

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
    kind TEXT NOT NULL,            -- ingestion, training, evaluation, watch
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
    cause TEXT NOT NULL,           -- gate, rollback, promote, watch, fallback, rebuild
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
    The file, opened for writing by its owner.
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
        """
        Open a transaction, commit it at the end of the block, undo it if the block raises.

        Within an open transaction the block joins that one.
        """
        if self.db.in_transaction:
            yield self.db
            return
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def change(self, sql: str, arguments: Sequence[object] | Mapping[str, object]) -> int:
        """
        Execute one statement in a transaction; return how many rows it changed.
        """
        with self.write() as db:
            return db.execute(sql, arguments).rowcount

    def read(self, cls: type[R], sql: str, arguments: Sequence[object] = ()) -> list[R]:
        """
        Return the rows of a query as values of *cls*.

        Args:
            cls: One of files/rows.py; the query gives every column of its table.
            sql: The query.
            arguments: Values of its question marks.

        Raises:
            CorruptRow: A row is not what *cls* says.
        """
        return list(read_rows(cls, self.db.execute(sql, arguments), self.path))

    def read_one(self, cls: type[R], sql: str, arguments: Sequence[object] = ()) -> R | None:
        """
        Return the first row of a query as read() does, or None if there is none.

        Raises:
            CorruptRow: As read.
        """
        return next(read_rows(cls, self.db.execute(sql, arguments), self.path), None)

    def texts(self, sql: str, arguments: Sequence[object] = ()) -> list[str]:
        """
        Return the first column of a query as text.
        """
        return [str(row[0]) for row in self.db.execute(sql, arguments)]

    def counts(self, table: str, cls: type[W]) -> dict[W, int]:
        """
        Return how many rows of *table* have each word of *cls* in their column ``state``.

        Raises:
            CorruptRow: A state is no member of *cls*.
        """
        found = self.db.execute(f"SELECT state, count(*) FROM {table} GROUP BY state")  # noqa: S608
        return {self.word(cls, state, table, "any"): int(n) for state, n in found}

    def word(self, cls: type[W], value: object, table: str, row: str) -> W:
        """
        Return the member of *cls* that *value*, from one row of *table*, spells.

        Raises:
            CorruptRow: It spells none.
        """
        return read_word(cls, value, journal=self.path, table=table, row=row)

    def setting(self, key: str) -> str | None:
        """
        Return the value of a setting, or None if it was never set.
        """
        row = self.db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, key: str, value: str) -> None:
        """
        Set a setting.
        """
        self.change(
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2",
            (key, value),
        )

    def next_number(self, name: str, *, floor: int = 0, count: int = 1) -> int:
        """
        Return the first of *count* numbers never given before under *name*, above *floor*.
        """
        with self.write():
            last = max(int(self.setting(f"last_{name}") or 0), floor)
            self.set_setting(f"last_{name}", str(last + count))
        return last + 1

    def reserve_numbers(self, name: str, *, up_to: int) -> None:
        """
        Never give a number <= *up_to* under *name* from now on.
        """
        with self.write():
            if int(self.setting(f"last_{name}") or 0) < up_to:
                self.set_setting(f"last_{name}", str(up_to))
