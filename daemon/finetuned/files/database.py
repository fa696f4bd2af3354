"""
The journal's SQLite file: opened, checked, brought to this version; its transactions.

WAL so that anybody may read it while the daemon writes, synchronous=FULL so
that what it acknowledged survives a power cut. Does not know what is written
into the tables: files/tables/ does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from finetuned.errors import ConfigError, ModelError
from finetuned.files import schema
from finetuned.files.row_reader import R, W, read_rows, read_word
from finetuned.files.transaction import transaction, use_wal

WAIT_SECONDS = 10.0
"""How long another process may hold the file."""


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
        self.db = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        try:
            use_wal(self.db, wait_seconds=WAIT_SECONDS)
            self.db.execute("PRAGMA synchronous=FULL")
            self.db.execute("PRAGMA foreign_keys=ON")
            problem = self.db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise ModelError(f"{path}: corrupt journal: {problem}")
            self.db.executescript(schema.FIRST)
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
        """
        Bring the tables to schema.VERSION, each step in one transaction with its number.

        The number is read in the transaction of its step: another process may open the
        same file at the same time, and a step that both took would be an error.
        """
        with self.write():
            if self.setting("schema_version") is None:
                self.set_setting("schema_version", "1")
        while self._take_step():
            pass
        found = int(self.setting("schema_version") or 0)
        if found != schema.VERSION:
            raise ConfigError(
                f"{self.path} was written by a later version of this program (schema {found}, "
                f"known here {schema.VERSION}); update the program, or move the file away to have "
                "the journal made again from the versions"
            )

    def _take_step(self) -> bool:
        """Take the next step of the schema; return False if there is none."""
        with self.write():
            found = int(self.setting("schema_version") or 0)
            if found not in schema.MIGRATIONS:
                return False
            for statement in filter(str.strip, schema.MIGRATIONS[found].split(";\n")):
                self.db.execute(statement)
            self.set_setting("schema_version", str(found + 1))
        return True

    def close(self) -> None:
        """
        Close the connection; what was committed stays.
        """
        self.db.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """
        Open a transaction, commit it at the end of the block, undo it if the block raises.

        Within an open transaction the block joins that one: an error in it must leave
        the outer block as well.

        Raises:
            sqlite3.Error: It could not be committed; nothing was changed.
        """
        with transaction(self.db) as db:
            yield db

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
