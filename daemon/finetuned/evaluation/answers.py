"""
What every model answered, in one SQLite file: asked once, and there to be queried.

An answer is found again by the exact weights and the exact token ids that it
came from, so it is the evidence it was when it was made. Answers that time cut
are never kept. The file can be deleted at any time; everything is then asked anew.

Knows questions and what models did; does not know who is incumbent.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.manifest import read_manifest
from finetuned.files.run import utc_now
from finetuned.inference.outcome import Raw
from finetuned.layout import MANIFEST

log = structlog.get_logger()

MARKS_VERSION = 1
"""Part of every key: raised when answers made before may no longer stand for new ones."""

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

_COLUMNS = "text, loss, n_tokens, golden_tokens, answer_tokens, stopped, seconds, choices"
_SHAPES = ("config.json", "adapter_config.json")


class AnswerStore:
    """
    The file, opened by one process; several may have it open.

    Nothing depends on it: what it cannot give is asked anew, and what it cannot take is
    not kept. A damaged file is put aside.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create.
        """
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._guarded(lambda: self._open())

    def close(self) -> None:
        """
        Close the file.
        """
        if self._db is not None:
            self._db.close()
            self._db = None

    def find(self, model: str, questions: Iterable[str]) -> dict[str, Raw]:
        """
        Return what *model* did before, by question; those it was never asked are left out.
        """
        found: dict[str, Raw] = {}

        def look(db: sqlite3.Connection) -> None:
            for key in questions:
                row = db.execute(
                    f"SELECT {_COLUMNS} FROM answers WHERE model = ? AND question = ?",  # noqa: S608
                    (model, key),
                ).fetchone()
                if row is not None:
                    found[key] = _raw(row)

        self._use(look)
        return found

    def add(self, model: str, raws: Mapping[str, Raw]) -> None:
        """
        Keep what *model* did, by question, in one step; what time cut is left out.
        """
        now = utc_now()
        rows = [
            (
                *(model, key, raw.text, raw.loss_sum, raw.n_tokens, raw.golden_tokens),
                *(raw.answer_tokens, raw.stopped, raw.seconds),
                *(orjson.dumps(raw.choices).decode(), now),
            )
            for key, raw in raws.items()
            if not raw.timed_out
        ]
        self._write(
            f"INSERT OR REPLACE INTO answers (model, question, {_COLUMNS}, at)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def add_results(
        self, run_id: str, subjects: Mapping[str, Mapping[str, Any]], items: Any
    ) -> None:
        """
        Keep the marked answers of one evaluation, for people to query.

        Args:
            run_id: The evaluation.
            subjects: As in an eval report: ``version``, and ``same_as`` where an outcome
                stands under another subject's name.
            items: As in an eval report.
        """
        now = utc_now()
        rows = []
        for item in items:
            for subject, about in subjects.items():
                o = item["outcomes"].get(about.get("same_as") or subject)
                if o is None:
                    continue
                rows.append(
                    (
                        *(run_id, subject, about.get("version"), item["suite"], item["id"]),
                        *(item["prompt"], item["golden"], o["answer"], o["correct"], o["score"]),
                        *(o["exact"], o["loss"], o["n_tokens"], o["stopped"], o["timed_out"], now),
                    )
                )
        marks = ", ".join("?" * 16)
        self._write(f"INSERT OR REPLACE INTO results VALUES ({marks})", rows)  # noqa: S608

    def _write(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        def write(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(sql, rows)

        self._use(write)

    def _use(self, work: Callable[[sqlite3.Connection], None]) -> None:
        db = self._db
        if db is not None:
            self._guarded(lambda: work(db))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do *work* on the file; what the file is not good for is left undone."""
        try:
            work()
        except sqlite3.OperationalError as error:  # full, locked by somebody, read-only
            log.warning("answers_unavailable", error=str(error))
        except sqlite3.DatabaseError as error:
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
        except BaseException:
            db.close()
            raise
        self._db = db


def _raw(row: Sequence[Any]) -> Raw:
    return Raw(
        text=row[0],
        loss_sum=row[1],
        n_tokens=row[2],
        golden_tokens=row[3],
        answer_tokens=row[4],
        stopped=bool(row[5]),
        timed_out=False,
        seconds=row[6],
        choices=tuple((nll, n) for nll, n in orjson.loads(row[7])),
    )


def question_key(renderer: Renderer, question: Question, limits: Sequence[Any]) -> str:
    """
    Return the digest of everything about a question that the model sees or that bounds its answer.

    Args:
        renderer: Whose token ids count.
        question: Any.
        limits: What else changes an answer, such as the longest one allowed.

    Raises:
        MalformedExample: It cannot be rendered.
    """
    example = question.example
    prompt = [] if example.kind == "text" else renderer.prompt_ids(example)
    facts = [
        MARKS_VERSION,
        prompt,
        [(s.input_ids, s.supervised) for s in renderer.render(example)] if question.scored else [],
        [renderer.answer_ids(example, choice) for choice in question.choices],
        question.scorer.name,
        question.scored,
        sorted(renderer.stop_token_ids),
        list(limits),
    ]
    return sha256(orjson.dumps(facts)).hexdigest()


def model_digest(base: Path, folder: Path | None, how: Sequence[str]) -> str:
    """
    Return the identity of a model's weights: manifests where there are some, else file stamps.

    Args:
        base: Directory of the base model.
        folder: A version or a candidate; None is the base alone.
        how: What else decides what it computes, such as precision and device.
    """
    facts: list[Any] = [MARKS_VERSION, list(how)]
    if folder is None or (folder / "adapter_config.json").is_file():
        facts.append(_weights(base))
    if folder is not None:
        facts.append(_weights(folder))
    return sha256(orjson.dumps(facts)).hexdigest()


def _weights(folder: Path) -> Any:
    if (folder / MANIFEST).is_file():
        files = read_manifest(folder)["files"]
        return sorted(
            (name, entry["sha256"])
            for name, entry in files.items()
            if "/" not in name and (name.endswith(".safetensors") or name in _SHAPES)
        )
    # A base model of gigabytes is not read for its name's sake: size and time of change do.
    return sorted(
        (p.name, s.st_size, s.st_mtime_ns)
        for p in folder.resolve().iterdir()
        if p.suffix == ".safetensors" or p.name in _SHAPES
        for s in (p.stat(),)
    )
