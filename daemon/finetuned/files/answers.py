"""
What models answered, in one SQLite file: a cache, and a table for people to query.

Nothing depends on the file. An answer that it cannot give is asked anew, one
that it cannot take is not kept, and a damaged file is put aside. It can be
deleted at any time. Knows digests and texts; does not know how they are made.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import orjson
import structlog

from finetuned.core.confidence.likelihood import Likelihood
from finetuned.files.run import utc_now

log = structlog.get_logger()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL,           -- digest of the weights
    question TEXT NOT NULL,        -- digest of the token ids and limits
    text TEXT,
    loss REAL NOT NULL, n_tokens INTEGER NOT NULL,
    golden_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL,
    stopped INTEGER NOT NULL, seconds REAL NOT NULL,
    choices TEXT NOT NULL,
    at TEXT NOT NULL,
    refused INTEGER NOT NULL DEFAULT 0,  -- tokens that a format refused
    likelihood TEXT,               -- JSON: tokens, mean ln p, least ln p, smallest lead
    PRIMARY KEY (model, question)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    run_id TEXT NOT NULL,          -- the evaluation
    subject TEXT NOT NULL,         -- base, incumbent, candidate
    version TEXT,                  -- of base and incumbent; a candidate has none yet
    suite TEXT NOT NULL, item TEXT NOT NULL,
    prompt TEXT NOT NULL, golden TEXT, answer TEXT,
    correct INTEGER, score REAL, exact INTEGER,
    loss REAL NOT NULL, n_tokens INTEGER NOT NULL,
    stopped INTEGER NOT NULL, timed_out INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (run_id, subject, suite, item)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS results_item ON results (suite, item);
"""

_COLUMNS = (
    "text, loss, n_tokens, golden_tokens, answer_tokens, stopped, seconds, choices, refused,"
    " likelihood"
)
_ADDED = {
    "refused": "ALTER TABLE answers ADD COLUMN refused INTEGER NOT NULL DEFAULT 0",
    "likelihood": "ALTER TABLE answers ADD COLUMN likelihood TEXT",
}
"""For a file that was made before answers could be held to a format, or before confidence."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """
    What a model did with one question, as it is kept.
    """

    text: str | None
    """As generated, without the stop token; None if nothing is to be generated."""
    loss_sum: float
    """Summed over the expected answer's supervised tokens, in nats."""
    n_tokens: int
    """Those tokens; 0 if the row holds no answer."""
    golden_tokens: int
    """Supervised tokens of the expected last turn."""
    answer_tokens: int
    stopped: bool
    """Whether the answer ended in a stop token."""
    seconds: float
    """Share of its batch's wall time."""
    choices: tuple[tuple[float, int], ...]
    """Summed log-likelihood in nats and tokens of each choice."""
    n_refused: int = 0
    """Tokens that the model preferred and the answer's format refused."""
    likelihood: Likelihood | None = None
    """Of the generated tokens; None if nobody looked."""


@dataclass(frozen=True, slots=True)
class MarkedAnswer:
    """
    One answer of one evaluation, with its mark. Fields are in the order of the columns.
    """

    run_id: str
    subject: str
    """base, incumbent or candidate"""
    version: str | None
    suite: str
    item: str
    prompt: str
    golden: str | None
    answer: str | None
    correct: bool | None
    score: float | None
    exact: bool | None
    loss: float
    """Summed over the expected answer's supervised tokens, in nats."""
    n_tokens: int
    stopped: bool
    timed_out: bool


class AnswerFile:
    """
    The file, opened by one process; several may have it open.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create.
        """
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._guarded(self._open)

    def close(self) -> None:
        """
        Close the file.
        """
        if self._db is not None:
            self._db.close()
            self._db = None

    def find(self, model: str, questions: Iterable[str]) -> dict[str, KeptAnswer]:
        """
        Return what *model* did before, by question; those it was never asked are left out.

        Args:
            model: Digest of its weights.
            questions: Digests.
        """
        found: dict[str, KeptAnswer] = {}

        def look(db: sqlite3.Connection) -> None:
            for key in questions:
                row = db.execute(
                    f"SELECT {_COLUMNS} FROM answers WHERE model = ? AND question = ?",  # noqa: S608
                    (model, key),
                ).fetchone()
                if row is not None:
                    found[key] = _kept(row)

        self._use(look)
        return found

    def counts(self) -> tuple[int, int]:
        """
        Return how many answers there are, and how many losses without an answer.
        """
        found = [0, 0]

        def look(db: sqlite3.Connection) -> None:
            row = db.execute("SELECT count(text), count(*) - count(text) FROM answers").fetchone()
            found[:] = row

        self._use(look)
        return found[0], found[1]

    def add(self, model: str, answers: Mapping[str, KeptAnswer]) -> None:
        """
        Keep what *model* did, by question, in one transaction.
        """
        now = utc_now()
        rows = [
            (
                *(model, question, answer.text, answer.loss_sum, answer.n_tokens),
                *(answer.golden_tokens, answer.answer_tokens, answer.stopped, answer.seconds),
                *(orjson.dumps(answer.choices).decode(), answer.n_refused),
                *(_likelihood_text(answer.likelihood), now),
            )
            for question, answer in answers.items()
        ]
        marks = ", ".join("?" * 13)
        sql = f"INSERT OR REPLACE INTO answers (model, question, {_COLUMNS}, at) VALUES ({marks})"  # noqa: S608
        self._write(sql, rows)

    def add_marked(self, answers: Iterable[MarkedAnswer]) -> None:
        """
        Keep the marked answers of one evaluation, in one transaction.
        """
        now = utc_now()
        marks = ", ".join("?" * 16)
        rows = [(*astuple(answer), now) for answer in answers]
        self._write(f"INSERT OR REPLACE INTO results VALUES ({marks})", rows)  # noqa: S608

    def _write(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        def write(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(sql, rows)

        self._use(write)

    def _use(self, work: Callable[[sqlite3.Connection], None]) -> None:
        db = self._db
        if db is not None:
            self._guarded(lambda: work(db))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do *work* on the file; if the file fails, it is left undone."""
        try:
            work()
        except sqlite3.OperationalError as error:  # full, locked by somebody, read-only
            log.warning("answers_unavailable", error=str(error))
        except sqlite3.DatabaseError as error:
            self._put_aside(error)

    def _put_aside(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        aside = self._path.with_name(f"{self._path.name}.corrupt-{int(time.time())}")
        log.warning("answers_put_aside", error=str(error), kept_as=aside.name)
        try:
            os.replace(self._path, aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._open()
        except (OSError, sqlite3.Error) as problem:
            log.warning("answers_unavailable", error=str(problem))

    def _open(self) -> None:
        db = sqlite3.connect(self._path, timeout=10)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            # A cache: what a power cut takes is asked again.
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            _add_columns(db)
        except BaseException:
            db.close()
            raise
        self._db = db


def _add_columns(db: sqlite3.Connection) -> None:
    """Add the columns that a file made before lacks; another process may do so just now."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        known = {row[1] for row in db.execute("PRAGMA table_info(answers)")}
        for column, statement in _ADDED.items():
            if column not in known:
                db.execute(statement)


def _kept(row: Sequence[object]) -> KeptAnswer:
    text, loss, n_tokens, golden_tokens, answer_tokens, stopped, seconds, choices = row[:8]
    refused, likelihood = row[8:]
    return KeptAnswer(
        text=None if text is None else str(text),
        loss_sum=_number(loss),
        n_tokens=int(_number(n_tokens)),
        golden_tokens=int(_number(golden_tokens)),
        answer_tokens=int(_number(answer_tokens)),
        stopped=bool(stopped),
        seconds=_number(seconds),
        choices=_choices(choices),
        n_refused=int(_number(refused)),
        likelihood=_likelihood(likelihood),
    )


def _likelihood_text(found: Likelihood | None) -> str | None:
    return None if found is None else orjson.dumps(astuple(found)).decode()


def _likelihood(value: object) -> Likelihood | None:
    """
    Return the likelihood that *value*, JSON text, lists.

    Raises:
        sqlite3.DatabaseError: It lists something else.
    """
    if value is None:
        return None
    try:
        n, mean, least, margin = orjson.loads(str(value))
        return Likelihood(int(n), float(mean), float(least), float(margin))
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"{value!r} is no likelihood: {error}") from None


def _choices(value: object) -> tuple[tuple[float, int], ...]:
    """
    Return the pairs of log-likelihood and tokens that *value*, JSON text, lists.

    Raises:
        sqlite3.DatabaseError: It lists something else.
    """
    try:
        return tuple((float(nll), int(n)) for nll, n in orjson.loads(str(value)))
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"{value!r} is not a list of pairs: {error}") from None


def _number(value: object) -> float:
    """
    Return *value* as a number.

    Raises:
        sqlite3.DatabaseError: It is not a number: the file is damaged, or not written by us.
    """
    if not isinstance(value, int | float):
        raise sqlite3.DatabaseError(f"{value!r} is not a number")
    return value
