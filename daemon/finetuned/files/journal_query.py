"""
A person's own questions to the journal, in SQL, that can change nothing and end in time.

The file is opened read-only, and SQLite asks before it prepares a statement: whatever is not
reading is refused, as are other files and extensions. The views are temporary ones of this
connection: nothing is written into the daemon's file, and names and columns of the views stay
when its tables change.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from finetuned.core.cost import Prices
from finetuned.errors import DatasetError
from finetuned.files.journal_view import ReadOnlyDatabase

Value = str | int | float | bytes | None
"""What SQLite holds."""

MAX_ROWS: Final = 100_000
"""Most rows that one question is answered with."""

_LONGEST_VALUE: Final = 1 << 24
"""Bytes of the longest value that a question may make."""

_STEPS: Final = 20_000
"""Instructions of SQLite between two looks at the clock."""

_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})

VIEWS: Final = {
    "jobs": (
        "Trainings and merges, with what became of them.",
        "SELECT j.id AS job, j.kind, j.priority, j.state, j.parent, j.version,"
        " j.created_at, j.updated_at, j.attempts, j.second_try,"
        " (SELECT count(*) FROM main.dataset_jobs g WHERE g.job_id = j.id) AS files,"
        " (SELECT sum(t.n_supervised_tokens) FROM main.trained t WHERE t.job_id = j.id)"
        " AS trained_tokens,"
        " (SELECT max(t.optimizer_steps) FROM main.trained t WHERE t.job_id = j.id) AS steps,"
        " coalesce(j.reason, j.error_message) AS reason, j.error_type FROM main.jobs j",
    ),
    "files": (
        "Every dropped file in every job that it was given to (job is NULL if in none).",
        "SELECT d.key, d.name, d.dataset_id, d.state, d.bytes, d.claimed_at, d.n_rows AS rows,"
        " d.n_train_rows AS train_rows, d.n_refused AS refused, d.n_heldout AS held_out,"
        " d.n_reserved AS reserved, d.duplicate_of, g.job_id AS job, j.version,"
        " j.state AS job_state, t.n_examples AS trained_sequences,"
        " t.n_supervised_tokens AS trained_tokens, d.reason FROM main.datasets d"
        " LEFT JOIN main.dataset_jobs g ON g.key = d.key LEFT JOIN main.jobs j ON j.id = g.job_id"
        " LEFT JOIN main.trained t ON t.job_id = g.job_id AND t.dataset_id = d.dataset_id",
    ),
    "versions": (
        "Every version that was ever made, and whether it is the release or the head now.",
        "SELECT v.id AS version, v.parent, v.job_id AS job, v.verdict, v.created_at,"
        " v.id IS (SELECT version FROM main.promotions ORDER BY seq DESC LIMIT 1) AS is_release,"
        " v.id IS (SELECT version FROM main.heads ORDER BY seq DESC LIMIT 1) AS is_head"
        " FROM main.versions v",
    ),
    "scores": (
        "What each model of each evaluation was asked, by suite: base, incumbent (the release),"
        " head and candidate.",
        "SELECT e.job_id AS job, j.version, e.subject, e.version AS asked_version,"
        " e.title AS suite, e.origin, e.n_asked AS asked, e.n_correct AS right,"
        " CAST(e.n_correct AS REAL) / NULLIF(e.n_asked, 0) AS accuracy, e.loss, e.stop_rate,"
        " e.n_timed_out AS timed_out, e.complete, e.at, e.suite AS suite_id FROM main.evals e"
        " LEFT JOIN main.jobs j ON j.id = e.job_id",
    ),
    "costs": (
        "Every run with its time, its energy and its price; energy is NULL if not measured.",
        "SELECT run, kind, job, started_at, outcome, seconds, cpu_seconds, gpus, estimated,"
        " joules / 3600000.0 AS kwh,"
        " coalesce(joules / 3600000.0 * price_kwh, 0)"
        " + coalesce(seconds, 0) / 3600.0 * max(1, coalesce(gpus, 0)) * price_device_hour AS money"
        " FROM (SELECT *, coalesce(cpu_joules, cpu_seconds * cpu_core_watts)"
        " + CASE WHEN gpus = 0 THEN 0 ELSE coalesce(gpu_joules, gpus * seconds * gpu_watts) END"
        " AS joules FROM (SELECT r.id AS run, r.kind, r.job_id AS job, r.started_at, r.outcome,"
        # As reports/job_costs.py: the end of a lost run is when the next daemon found it.
        " CASE WHEN r.ended_at IS NOT NULL AND r.outcome IS NOT 'lost'"
        " THEN (julianday(r.ended_at) - julianday(r.started_at)) * 86400 ELSE u.seconds END"
        " AS seconds, u.cpu_seconds, u.gpus, u.cpu_joules, u.gpu_joules,"
        " u.cpu_joules IS NULL OR (u.gpus > 0 AND u.gpu_joules IS NULL) AS estimated, p.*"
        " FROM main.runs r LEFT JOIN main.usage u ON u.run_id = r.id, temp.prices p))",
    ),
    "incidents": (
        "What went wrong or was taken back: runs that ended badly, jobs that failed, and changes"
        " of the release that no candidate earned.",
        "SELECT r.ended_at AS at, 'run ' || r.outcome AS kind, r.id AS subject, r.job_id AS job,"
        " 'exit status ' || coalesce(r.exit_status, 'not known') AS detail FROM main.runs r"
        " WHERE r.outcome IN ('fail', 'failed', 'retry', 'lost', 'stuck_in_eval')"
        " UNION ALL SELECT j.updated_at, 'job failed', j.id, j.id,"
        " coalesce(j.error_type || ': ' || j.error_message, j.reason) FROM main.jobs j"
        " WHERE j.state = 'failed'"
        " UNION ALL SELECT d.claimed_at, 'file refused', d.key, d.job_id, d.name || ': ' ||"
        " coalesce(d.reason, '') FROM main.datasets d WHERE d.state = 'quarantined'"
        " UNION ALL SELECT p.at, 'release by ' || p.cause, coalesce(p.version, 'base'), NULL, NULL"
        " FROM main.promotions p WHERE p.cause <> 'gate'",
    ),
}
"""Name -> what its rows are, and the query."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    The answer to one question.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Value, ...]]
    more: bool
    """Whether there are more rows than were asked for."""


class QueryRefused(DatasetError):
    """
    A question is no reading SQL, or took too long.
    """


class JournalQuery:
    """
    The journal of one root, for questions. Owns a connection.
    """

    def __init__(self, path: Path, prices: Prices) -> None:
        """
        Args:
            path: The journal.
            prices: For the view ``costs``.

        Raises:
            FileNotFoundError, ConfigError, ModelError, sqlite3.OperationalError: As the database.
        """
        self._database = ReadOnlyDatabase(path)
        self._db = self._database.db
        self._db.row_factory = None
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.execute(
            "CREATE TEMP TABLE prices AS SELECT ? AS price_kwh, ? AS price_device_hour,"
            " ? AS cpu_core_watts, ? AS gpu_watts",
            (prices.kwh, prices.device_hour, prices.cpu_core_watts, prices.gpu_watts),
        )
        for name, (_, query) in VIEWS.items():
            self._db.execute(f"CREATE TEMP VIEW {name} AS {query}")
        self._db.execute("PRAGMA query_only = ON")
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        self._db.set_authorizer(_authorize)

    def close(self) -> None:
        """
        Close the connection.
        """
        self._database.close()

    def columns_of(self, view: str) -> tuple[str, ...]:
        """
        Return the columns of one of VIEWS.
        """
        found = self._db.execute(f"SELECT * FROM {view} LIMIT 0")  # noqa: S608
        return tuple(str(column[0]) for column in found.description)

    def ask(self, sql: str, *, seconds: float, most: int = MAX_ROWS) -> Answer:
        """
        Return the answer to one SELECT.

        Args:
            sql: The statement.
            seconds: It is given up after so long.
            most: Rows that are read, at most.

        Raises:
            QueryRefused: It is not one reading statement, or took too long.
            sqlite3.OperationalError: The file system refused.
        """
        with _time_limit(self._db, seconds) as is_late:
            try:
                cursor = self._db.execute(sql)
                if cursor.description is None:
                    raise QueryRefused("there is no question: expected one SELECT")
                columns = tuple(str(column[0]) for column in cursor.description)
                rows = cursor.fetchmany(most + 1)
            except (sqlite3.Warning, sqlite3.ProgrammingError) as error:
                raise QueryRefused(f"expected one statement: {error}") from None
            except sqlite3.DatabaseError as error:
                if is_late():
                    raise QueryRefused(
                        f"it took longer than {seconds:g} s; ask for less, or allow more with"
                        " --seconds"
                    ) from None
                raise QueryRefused(_why(error)) from None
        return Answer(columns, rows[:most], len(rows) > most)


def _why(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "not authorized" in text or "prohibited" in text:
        return f"only reading is allowed: {text}"
    return text


def _authorize(
    action: int, first: str | None, second: str | None, database: str | None, view: str | None
) -> int:
    if action in _READING:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second != "load_extension":
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


class _Late:
    """
    Whether a time limit was exceeded; called by SQLite now and then.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.late = False

    def __call__(self) -> bool:
        self.late = self.late or time.monotonic() > self._end
        return self.late


@contextmanager
def _time_limit(db: sqlite3.Connection, seconds: float) -> Iterator[_Late]:
    late = _Late(seconds)
    db.set_progress_handler(late, _STEPS)
    try:
        yield late
    finally:
        db.set_progress_handler(None, 0)
