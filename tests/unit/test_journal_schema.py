"""
A journal of an earlier version goes on, with everything that it knows.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from finetuned.core.books import Fate
from finetuned.core.job import JobKind
from finetuned.core.promotion import HeadCause
from finetuned.errors import ConfigError
from finetuned.files import schema
from finetuned.files.journal import Journal


def first_schema(path: Path) -> None:
    """
    Write a journal as the first version of the program left it.
    """
    with sqlite3.connect(path) as db:
        db.executescript(schema.FIRST)
        db.execute("INSERT INTO settings VALUES ('schema_version', '1'), ('last_job', '1')")
        db.execute(
            "INSERT INTO jobs (id, priority, state, created_at, updated_at, version)"
            " VALUES ('j000001', 'normal', 'promoted', 't', 't', 'v0001')"
        )
        db.execute("INSERT INTO versions VALUES ('v0001', NULL, 'j000001', 'r1', 'promoted', 't')")
        db.execute(
            "INSERT INTO evals VALUES"
            " ('j000001', 'r2', 'candidate', 'new', 10, 8, 4, 0.5, 1, 't'),"
            " ('j000001', 'r2', 'candidate', 'old', 5, 0, 0, 0.5, 1, 't')"
        )


def test_a_journal_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    """
    Jobs are trainings, and scores by exact match are scores.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)

    for _ in range(2):  # the second time there is nothing to do
        journal = Journal(path)
        assert JobKind.TRAINING is journal.jobs.get("j000001").kind
        assert [0.5, None] == [score.accuracy for score in journal.scores.of_version("v0001")]
        assert [] == journal.scores.benchmarks_of("v0001")
        assert ["v0001"] == journal.versions.lineage("v0001")
        journal.close()
        with sqlite3.connect(path) as db:
            assert [(str(schema.VERSION),)] == db.execute(
                "SELECT value FROM settings WHERE key = 'schema_version'"
            ).fetchall()


def test_before_heads_were_recorded_the_head_was_the_version_in_use(tmp_path: Path) -> None:
    """
    Every decision of then is one on the head, in the same order and for the same reason.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)
    with sqlite3.connect(path) as db:
        db.executemany(
            "INSERT INTO promotions (version, cause, at) VALUES (?, ?, 't')",
            [("v0001", "gate"), (None, "rollback"), ("v0001", "promote")],
        )
    journal = Journal(path)
    last = journal.heads.last()
    assert last is not None
    assert (3, "v0001", HeadCause.PROMOTE) == (last.seq, last.version, last.cause)
    journal.close()
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT version, cause, job_id FROM heads ORDER BY seq").fetchall()
    assert [("v0001", "promoted", "j000001"), (None, "rollback", None)] == found[:2]


def test_the_books_of_an_older_journal_know_its_files(tmp_path: Path) -> None:
    """
    What was learnt, and that a file whose job failed was dropped again.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO jobs (id, priority, state, created_at, updated_at)"
            " VALUES ('j000000', 'normal', 'failed', 't', 't')"
        )
        db.executemany(
            "INSERT INTO datasets (key, name, inbox_path, priority, bytes, claimed_at, state,"
            " dataset_id, job_id) VALUES (?, 'a', x'61', 'normal', 1, 't', 'retired', 'aa', ?)",
            [("d1", "j000000"), ("d2", "j000001")],
        )
    journal = Journal(path)
    fates = {entry.dataset.key: entry.fate for entry in journal.books.entries(["v0001"])}
    journal.close()

    assert {"d1": Fate.DUPLICATE, "d2": Fate.LEARNT} == fates


def test_the_looks_of_an_older_journal_are_not_counted(tmp_path: Path) -> None:
    """
    They promoted nothing, and the bound holds for those to come whatever came before. To count
    them would have the first candidate after this update judged at a 190th of the level.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO promotions (version, cause, at) VALUES ('v0001', 'gate', 't')")
        db.executemany(
            "INSERT INTO jobs (id, priority, state, created_at, updated_at, parent, version)"
            " VALUES (?, 'normal', 'rejected', 't', 't', 'v0001', ?)",
            [(f"j{n:06d}", f"v{n:04d}") for n in range(2, 20)],
        )
    journal = Journal(path)
    looks = [journal.next_look("r000100")]
    journal.note_look("r000100", 1)
    looks.append(journal.next_look("r000101"))
    journal.close()

    assert [1, 2] == looks


def test_a_migration_that_is_cut_short_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tables and number change in one transaction: the next start begins it again.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)
    broken = schema.MIGRATIONS[1] + "SELECT no_such_function();\n"
    with monkeypatch.context() as patch:
        patch.setitem(schema.MIGRATIONS, 1, broken)
        with pytest.raises(sqlite3.OperationalError):
            Journal(path)
    with sqlite3.connect(path) as db:
        assert [("1",)] == db.execute(
            "SELECT value FROM settings WHERE key = 'schema_version'"
        ).fetchall()

    Journal(path).close()


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """
    Going back to an older program must not cost the record.
    """
    path = tmp_path / "journal.sqlite3"
    Journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE settings SET value = '99' WHERE key = 'schema_version'")

    with pytest.raises(ConfigError, match="schema 99"):
        Journal(path)
