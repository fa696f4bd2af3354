"""
The journal as somebody reads it who may not change it, while the daemon writes.

Opens the file read-only: a mistake in a reader can change nothing, and no reader waits for
the daemon or holds it up. A reader that is killed leaves nothing behind.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from finetuned.errors import ConfigError, ModelError
from finetuned.files import schema
from finetuned.files.database import Database
from finetuned.files.journal_counts import JournalCounts, count_journal
from finetuned.files.rows import RunRow
from finetuned.files.tables.books import BookRecords
from finetuned.files.tables.datasets import Datasets
from finetuned.files.tables.days import Days
from finetuned.files.tables.device_use import DeviceUse
from finetuned.files.tables.heads import Heads
from finetuned.files.tables.history import History
from finetuned.files.tables.jobs import Jobs
from finetuned.files.tables.messages import Messages
from finetuned.files.tables.runs import Runs
from finetuned.files.tables.scores import Scores
from finetuned.files.tables.usage import Usage
from finetuned.files.tables.versions import Promotions, Versions


class ReadOnlyDatabase(Database):
    """
    The file of the journal, opened for reading only: SQLite refuses every change.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            FileNotFoundError: There is no journal yet.
            ConfigError: It is of another schema; the daemon migrates it when it starts.
            ModelError: The file is no journal, or it is empty.
            sqlite3.OperationalError: The file system refused.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no journal yet")
        self.path = path
        # One reader at a time uses it, though not always in the same thread.
        self.db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=1,
            isolation_level=None,
            check_same_thread=False,
        )
        self.db.row_factory = sqlite3.Row
        try:
            found = self.setting("schema_version")
        except sqlite3.DatabaseError as error:
            self.db.close()
            if "no such table" in str(error):
                raise ModelError(
                    f"{path}: not a journal: it is empty, or cut before its first table; a journal "
                    "that finetuned made has a table of settings. Start the daemon (finetuned "
                    "run): it makes the journal anew"
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise ModelError(f"{path}: not a journal: {error}") from error
        if found != str(schema.VERSION):
            self.db.close()
            raise ConfigError(
                f"{path} has schema {found}, known here is {schema.VERSION}; start the daemon of "
                "this version of the program once, which brings it up to date"
            )


class JournalView:
    """
    The tables of one journal, for reading. Owns a connection.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            FileNotFoundError, ConfigError, ModelError, sqlite3.OperationalError: As the database.
        """
        self._database = ReadOnlyDatabase(path)
        self.datasets = Datasets(self._database)
        self.jobs = Jobs(self._database)
        self.runs = Runs(self._database)
        self.scores = Scores(self._database)
        self.versions = Versions(self._database)
        self.promotions = Promotions(self._database)
        self.heads = Heads(self._database)
        self.books = BookRecords(self._database)
        self.usage = Usage(self._database)
        self.history = History(self._database)
        self.messages = Messages(self._database)
        self.days = Days(self._database)
        self.device_use = DeviceUse(self._database)

    def close(self) -> None:
        """
        Close the connection.
        """
        self._database.close()

    def change_number(self) -> int:
        """
        Return a number that differs from the one before if another process changed the journal.
        """
        (number,) = self._database.db.execute("PRAGMA data_version").fetchone()
        return int(number)

    def counts(self, *, seconds: float) -> JournalCounts:
        """
        Count what metrics show, within *seconds*.

        Raises:
            sqlite3.OperationalError, CorruptRow: As count_journal.
        """
        return count_journal(self._database, seconds=seconds)

    def last_training(self) -> RunRow | None:
        """
        Return the newest run that trains or trained, None if there was none.
        """
        return self._database.read_one(
            RunRow, "SELECT * FROM runs WHERE kind = 'training' ORDER BY id DESC LIMIT 1"
        )
