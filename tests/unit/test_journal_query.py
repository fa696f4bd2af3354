"""
Questions to the journal change nothing, end in time, and say what the reports say.
"""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import CostsConfig
from finetuned.errors import ConfigError, ModelError
from finetuned.files.journal_query import VIEWS, JournalQuery, QueryRefused
from finetuned.files.journal_view import JournalView
from finetuned.reports.job_costs import job_costs
from finetuned.reports.worth import prices_of
from support.worth_root import make_worth_root

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ask-the-journal.md"
PRICES = prices_of(CostsConfig(price_per_device_hour=2.0))

WRITING = (
    "DELETE FROM main.jobs",
    "UPDATE main.jobs SET state = 'failed'",
    "INSERT INTO main.settings VALUES ('a', 'b')",
    "DROP TABLE main.jobs",
    "DROP VIEW costs",
    "CREATE TABLE x (y)",
    "CREATE TEMP TABLE x (y)",
    "ALTER TABLE main.jobs ADD COLUMN x",
    "REPLACE INTO main.settings VALUES ('a', 'b')",
    "VACUUM",
    "VACUUM INTO 'never.sqlite3'",
    "ATTACH DATABASE 'never.sqlite3' AS x",
    "DETACH DATABASE main",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "BEGIN EXCLUSIVE",
    "REINDEX",
    "ANALYZE",
    "SELECT load_extension('/tmp/x.so')",
    "WITH gone AS (SELECT 1) DELETE FROM main.jobs",
    "EXPLAIN DELETE FROM main.jobs",
)


WORDS = (
    *("SELECT", "DELETE", "FROM", "main.jobs", "INSERT", "INTO", "VALUES", "(", ")", "*", "1", ";"),
    *("PRAGMA", "=", "ON", "WITH", "x", "AS", "UPDATE", "SET", "state", "DROP", "TABLE", "ATTACH"),
    *("jobs", ",", "'a'", "REPLACE", "BEGIN", "COMMIT"),
)


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return make_worth_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def journal(layout):
    with closing(JournalQuery(layout.journal, PRICES)) as journal:
        yield journal


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def ask(journal, sql, seconds=20.0, most=1000):
    return journal.ask(sql, seconds=seconds, most=most)


@pytest.mark.parametrize("sql", WRITING)
def test_whatever_is_not_reading_is_refused(journal, layout, sql, tmp_path, monkeypatch):
    """
    Before it runs, whatever it is called; not a byte of the journal differs after.
    """
    monkeypatch.chdir(tmp_path)
    before = digest(layout.journal)

    with pytest.raises(QueryRefused):
        ask(journal, sql)
    assert before == digest(layout.journal)
    assert [] == list(tmp_path.iterdir())


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(WORDS),
        max_size=12,
    )
)
def test_no_words_in_any_order_change_the_journal(layout, words):
    """
    What is valid SQL by chance reads, and the rest is refused with a message.
    """
    before = digest(layout.journal)
    with closing(JournalQuery(layout.journal, PRICES)) as journal, suppress(QueryRefused):
        ask(journal, " ".join(words))
    assert before == digest(layout.journal)


def test_a_question_without_end_is_given_up(journal):
    """
    And the next one is answered.
    """
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    began = time.monotonic()
    with pytest.raises(QueryRefused, match="took longer than"):
        ask(journal, endless, seconds=0.2)

    assert time.monotonic() - began < 10
    assert [(1,)] == ask(journal, "SELECT count(*) FROM jobs").rows


def test_an_answer_is_cut_and_says_so(journal):
    """
    Memory is bounded whatever is asked, also by one huge value.
    """
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    found = ask(journal, endless, most=5)

    assert (5, True) == (len(found.rows), found.more)
    with pytest.raises(QueryRefused, match="too big"):
        ask(journal, "SELECT zeroblob(1000000000)")


def test_a_writer_does_not_wait_for_a_reader(journal, layout):
    """
    The daemon writes while a question is open.
    """
    ask(journal, "SELECT * FROM costs")
    with closing(sqlite3.connect(layout.journal, timeout=0.1)) as daemon, daemon:
        daemon.execute("UPDATE settings SET value = value")


def test_the_costs_are_those_of_the_reports(journal, layout):
    """
    The same arithmetic stands in SQL and in Python.
    """
    with closing(JournalView(layout.journal)) as view:
        costs = job_costs(view.history.runs(), view.usage.all(), PRICES)
    (row,) = ask(journal, "SELECT count(*), sum(seconds), sum(kwh), sum(money) FROM costs").rows

    whole = costs.all
    assert whole.runs == row[0]
    assert pytest.approx(row[1], abs=0.01) == whole.seconds
    assert pytest.approx(row[2]) == whole.kwh
    assert pytest.approx(row[3], abs=1e-4) == whole.money


def test_every_view_can_be_read_and_is_in_the_page(journal):
    """
    A column that a table lost is found here.
    """
    page = PAGE.read_text()
    for name in VIEWS:
        assert journal.columns_of(name)
        ask(journal, f"SELECT * FROM {name}")  # noqa: S608
        assert f"| `{name}` |" in page


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S))
def test_the_questions_of_the_page_are_answered(journal, sql):
    """
    On a root with one job of two files; each answer but that of refused files has rows.
    """
    found = ask(journal, sql)

    assert found.columns
    assert found.rows or "refused" in sql


def test_the_shares_of_the_page_are_those_of_the_tokens(journal):
    """
    300 and 100 trained tokens: three quarters and one.
    """
    (sql,) = [s for s in re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.S) if "f.key" in s]
    (first, a, dear), (second, b, cheap) = ask(journal, sql).rows

    assert ("d00000001", "a.jsonl", "d00000002", "b.jsonl") == (first, a, second, b)
    assert pytest.approx(3 * cheap, rel=0.02) == dear


def test_a_journal_of_another_schema_is_refused_in_one_sentence(tmp_path):
    """
    An older one is brought up to date by the daemon, not by a question.
    """
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE settings (key, value)")
        db.execute("INSERT INTO settings VALUES ('schema_version', '5')")

    with pytest.raises(ConfigError, match="has schema 5, known here is"):
        JournalQuery(path, PRICES)


def test_an_empty_journal_is_named_and_not_an_error_of_sql(tmp_path):
    """
    A crash, or a person, may leave a file without a table; the daemon makes them.
    """
    path = tmp_path / "journal.sqlite3"
    path.touch()

    with pytest.raises(ModelError, match=r"journal\.sqlite3: not a journal: it is empty"):
        JournalView(path)
