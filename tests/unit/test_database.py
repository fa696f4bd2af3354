"""
The file below the journal: its transactions end, whatever happens in them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from finetuned.core.job import JobState
from finetuned.errors import CorruptRow
from finetuned.files import schema
from finetuned.files.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "journal.sqlite3")
    yield database
    database.close()


def on_disk(database: Database, key: str) -> str | None:
    """
    Return a setting as another process sees it.
    """
    with sqlite3.connect(database.path) as db:
        row = db.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def test_what_is_set_is_on_disk_at_once(database: Database) -> None:
    """
    One call, one transaction.
    """
    database.set_setting("a", "1")
    database.set_setting("a", "2")

    assert "2" == on_disk(database, "a")
    assert "2" == database.setting("a")
    assert database.setting("b") is None


def test_a_block_in_a_block_is_committed_with_the_outer_one(database: Database) -> None:
    """
    Nothing is seen before all of it.
    """
    with database.write():
        with database.write():
            database.set_setting("a", "1")
        assert on_disk(database, "a") is None
        database.set_setting("b", "2")

    assert ("1", "2") == (on_disk(database, "a"), on_disk(database, "b"))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_of_any_kind_undoes_the_block(
    database: Database, error: type[BaseException]
) -> None:
    """
    Also one that ends the process, and the next block is a transaction of its own.
    """

    def fail() -> None:
        with database.write():
            database.set_setting("a", "1")
            raise error

    with pytest.raises(error):
        fail()

    assert on_disk(database, "a") is None
    database.set_setting("b", "2")
    assert "2" == on_disk(database, "b")


def test_a_transaction_that_cannot_be_committed_does_not_stay_open(database: Database) -> None:
    """
    Left open, it would take in whatever is recorded from then on, and never end.
    """
    reference = "REFERENCES settings (key) DEFERRABLE INITIALLY DEFERRED"
    database.db.execute(f"CREATE TABLE child (parent TEXT {reference})")

    def fail() -> None:
        with database.write() as db:
            db.execute("INSERT INTO child VALUES ('nobody')")

    with pytest.raises(sqlite3.IntegrityError):
        fail()

    assert not database.db.in_transaction
    database.set_setting("b", "2")
    assert "2" == on_disk(database, "b")


def test_a_full_disk_leaves_what_was_there(database: Database) -> None:
    """
    And once there is space again, everything goes on.
    """
    database.set_setting("a", "old")
    pages = database.db.execute("PRAGMA page_count").fetchone()[0]
    database.db.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with database.write():
            database.set_setting("a", "new")
            database.set_setting("b", "x" * 1_000_000)

    with pytest.raises(sqlite3.OperationalError, match="full"):
        fill()

    assert "old" == on_disk(database, "a")
    assert not database.db.in_transaction
    database.db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    fill()
    assert "new" == on_disk(database, "a")


def test_a_state_that_is_not_known_is_not_counted_away(database: Database) -> None:
    """
    A word of a later program is an error and not a missing job.
    """
    database.change(
        "INSERT INTO jobs (id, priority, state, created_at, updated_at)"
        " VALUES ('j1', 'low', 'paused', '', '')",
        (),
    )
    with pytest.raises(CorruptRow, match="table jobs, row any: 'paused' is not one of queued,"):
        database.counts("jobs", JobState)


def test_numbers_of_different_names_do_not_meet(database: Database) -> None:
    """
    Each name counts for itself, from 1.
    """
    assert [1, 1, 2] == [database.next_number(name) for name in ("run", "job", "run")]
    assert 3 == database.next_number("run", count=5)
    assert 8 == database.next_number("run", floor=4)
    database.reserve_numbers("run", up_to=20)
    assert 21 == database.next_number("run")


def test_a_new_file_that_several_open_at_once_is_made_once(tmp_path: Path) -> None:
    """
    A daemon at its first start and somebody who asks for its datasets do not stop each other.
    """
    everybody = Barrier(4)

    def opens(path: Path) -> str | None:
        everybody.wait(timeout=30)
        database = Database(path)
        try:
            return database.setting("schema_version")
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        for attempt in range(8):
            path = tmp_path / f"{attempt}.sqlite3"
            found = [f.result() for f in [pool.submit(opens, path) for _ in range(4)]]
            assert [str(schema.VERSION)] * 4 == found
