"""
Rows of the journal become values, or an error that names file, table and row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from finetuned.core.dataset_state import DatasetState
from finetuned.errors import CorruptRow, ModelError
from finetuned.files.database import Database
from finetuned.files.row_reader import read_rows
from finetuned.files.rows import DatasetRow, HeadRow, JobRow, PromotionRow, Row, RunRow
from finetuned.layout import Priority

CLASSES = get_args(Row)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "journal.sqlite3")
    yield database
    database.close()


def insert(database: Database, table: str, **columns: Any) -> None:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    with database.write() as db:
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        db.execute(sql, tuple(columns.values()))


def add_dataset(database: Database, **changes: Any) -> None:
    columns = {
        "key": "d1",
        "name": "a.jsonl",
        "inbox_path": b"high/a.jsonl",
        "priority": "high",
        "bytes": 12,
        "claimed_at": "2026-11-20T09:00:00.123Z",
        "state": "claimed",
    }
    insert(database, "datasets", **(columns | changes))


def read(database: Database, cls: Any) -> list[Any]:
    return database.read(cls, f"SELECT * FROM {cls.table}")  # noqa: S608


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.table)
def test_a_class_has_the_columns_of_its_table(database: Database, cls: Any) -> None:
    """
    A column that is added to the schema and not to the class is found here, not at a user's.
    """
    columns = {row["name"] for row in database.db.execute(f"PRAGMA table_info({cls.table})")}

    assert columns == {field.name for field in fields(cls)}


def test_a_row_is_read_as_it_was_written(database: Database) -> None:
    """
    Words become members, blobs stay bytes, NULL is None.
    """
    add_dataset(database)

    assert [
        DatasetRow(
            key="d1",
            name="a.jsonl",
            inbox_path=b"high/a.jsonl",
            priority=Priority.HIGH,
            bytes=12,
            claimed_at="2026-11-20T09:00:00.123Z",
            state=DatasetState.CLAIMED,
            dataset_id=None,
            sha256=None,
            duplicate_of=None,
            n_train=None,
            n_heldout=None,
            reason=None,
            job_id=None,
            final_path=None,
            n_rows=None,
            n_refused=None,
            n_reserved=None,
            n_train_rows=None,
        )
    ] == read(database, DatasetRow)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("state", "eaten", "one of claimed, accepted, duplicate, quarantined, retired"),
        ("priority", "urgent", "one of high, normal, low"),
        ("bytes", "many", "a value of type int"),
        ("inbox_path", "text", "a value of type bytes"),
        ("name", b"blob", "a value of type str"),
        ("n_train", 1.5, "a value of type int"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_an_error_that_says_where(
    database: Database, column: str, value: object, expected: str
) -> None:
    """
    File, table, row, column, what was found and what was expected.
    """
    add_dataset(database, **{column: value})
    with pytest.raises(CorruptRow) as caught:
        read(database, DatasetRow)

    message = str(caught.value)
    assert message.startswith(f"{database.path}: table datasets, row d1: column {column} is ")
    assert f"{value!r}, expected {expected};" in message
    assert isinstance(caught.value, ModelError)


def words(cls: Any) -> list[tuple[str, type[StrEnum]]]:
    """
    Return the columns of *cls* that hold words, with their enums.
    """
    return [
        (name, kind)
        for name, hint in get_type_hints(cls).items()
        for kind in (get_args(hint) or (hint,))
        if isinstance(kind, type) and issubclass(kind, StrEnum)
    ]


@pytest.mark.parametrize(
    "cls", [DatasetRow, JobRow, RunRow, PromotionRow, HeadRow], ids=lambda c: c.table
)
def test_every_word_of_every_enum_comes_back_as_its_member(database: Database, cls: Any) -> None:
    """
    And a word that is no member is refused, in every column that holds words.
    """
    required = {
        "datasets": {"name": "", "inbox_path": b"", "priority": "low", "bytes": 1}
        | {"claimed_at": "", "state": "claimed"},
        "jobs": {"priority": "low", "state": "queued", "created_at": "", "updated_at": ""},
        "runs": {"kind": "watch", "started_at": ""},
        "promotions": {"cause": "gate", "at": ""},
        "heads": {"cause": "held", "at": ""},
    }[cls.table]
    key = fields(cls)[0].name
    for name, kind in words(cls):
        for n, member in enumerate(kind):
            insert(database, cls.table, **{**required, key: n, name: str(member)})
        found = sorted(read(database, cls), key=lambda row: int(getattr(row, key)))
        assert list(kind) == [getattr(row, name) for row in found]
        with database.write() as db:
            db.execute(f"UPDATE {cls.table} SET {name} = 'nonsense'")  # noqa: S608
        with pytest.raises(CorruptRow, match=f"column {name} is 'nonsense'"):
            read(database, cls)
        with database.write() as db:
            db.execute(f"DELETE FROM {cls.table}")  # noqa: S608


@pytest.mark.parametrize("value", [2, "1", None])
def test_a_flag_is_0_or_1(database: Database, value: object) -> None:
    """
    Nothing else is taken for true.
    """
    cursor = database.db.execute(
        "SELECT 'j1' AS id, 'training' AS kind, 'low' AS priority, 'queued' AS state,"
        " '' AS created_at, '' AS updated_at, 0 AS attempts, NULL AS parent, NULL AS config,"
        " NULL AS candidate_run, NULL AS checkpoint, NULL AS version, NULL AS error_type,"
        " NULL AS error_message, NULL AS reason, ? AS retired, 0 AS second_try",
        (value,),
    )

    with pytest.raises(CorruptRow, match=r"row j1: column retired is .*, expected 0 or 1"):
        list(read_rows(JobRow, cursor, database.path))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT seq, version, cause FROM promotions", r"missing columns \['at'\]"),
        ("SELECT *, 1 AS extra FROM promotions", r"unknown columns \['extra'\]"),
    ],
)
def test_other_columns_than_the_table_has_are_refused(
    database: Database, query: str, message: str
) -> None:
    """
    A journal that a person altered is not read as if it were ours.
    """
    with pytest.raises(CorruptRow, match=message):
        database.read(PromotionRow, query)


def test_the_order_of_columns_does_not_matter(database: Database) -> None:
    """
    A migration appends its columns; a new file may have them elsewhere.
    """
    insert(database, "promotions", version="v0001", cause="gate", at="t")
    found = database.read(PromotionRow, "SELECT at, cause, version, seq FROM promotions")

    assert read(database, PromotionRow) == found
    assert "v0001" == found[0].version


def test_a_query_of_something_else_is_an_error_of_sqlite(database: Database) -> None:
    """
    Only rows are judged here, not queries.
    """
    with pytest.raises(sqlite3.OperationalError):
        database.read(PromotionRow, "SELECT * FROM nothing")
