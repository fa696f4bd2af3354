"""
A journal of an earlier version goes on, with everything that it knows.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from finetuned.errors import ConfigError
from finetuned.files import database
from finetuned.files.journal import Journal
from finetuned.files.results import add_evals, benchmarks_of, lineage_of, scores_of


def first_schema(path: Path) -> None:
    """
    Write a journal as the first version of the program left it.
    """
    with sqlite3.connect(path) as db:
        db.executescript(database._SCHEMA)
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
        assert "training" == journal.job("j000001")["kind"]
        assert [0.5, None] == [row["accuracy"] for row in scores_of(journal, ["v0001"])]
        assert [] == benchmarks_of(journal, "v0001")
        assert ["v0001"] == lineage_of(journal, "v0001")
        assert str(database.SCHEMA_VERSION) == journal.setting("schema_version")
        journal.close()


def test_a_migration_that_is_cut_short_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tables and number change in one transaction: the next start begins it again.
    """
    path = tmp_path / "journal.sqlite3"
    first_schema(path)
    broken = database._MIGRATIONS[1] + "SELECT no_such_function();\n"
    with monkeypatch.context() as patch:
        patch.setitem(database._MIGRATIONS, 1, broken)
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


def test_what_was_evaluated_can_be_asked_for(tmp_path: Path) -> None:
    """
    Scores by version and suite, benchmarks apart from held-out rows.
    """
    journal = Journal(tmp_path / "journal.sqlite3")
    journal.add_job("j000001", "normal", ())
    score = {
        "n_rows": 4,
        "n_asked": 4,
        "n_exact": 1,
        "n_correct": 3,
        "loss": 0.25,
        "complete": 1,
        "version": None,
        "stop_rate": 1.0,
        "n_timed_out": 0,
        "subject": "candidate",
    }
    rows = [
        {**score, "suite": suite, "origin": origin, "title": f"{suite}.jsonl"}
        for suite, origin in (("heldout-1", "new"), ("mine", "benchmark"), ("canaries", "canary"))
    ]
    add_evals(journal, "j000001", "r000002", rows)
    journal.update_job("j000001", version="v0001")

    assert {"heldout-1": 0.75, "mine": 0.75, "canaries": 0.75} == {
        row["suite"]: row["accuracy"] for row in scores_of(journal, ["v0001"])
    }
    assert ["canaries", "mine"] == benchmarks_of(journal, "v0001")
    journal.close()
