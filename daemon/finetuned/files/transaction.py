"""
SQLite files that several processes open: a write-ahead log, and transactions never left open.

Knows a connection; does not know tables.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

RETRY_SECONDS = 0.01


def use_wal(db: sqlite3.Connection, *, wait_seconds: float) -> None:
    """
    Let readers and a writer of the file not wait for each other.

    SQLite does not wait by itself for another process that makes the same change to a new file.

    Args:
        db: Just opened.
        wait_seconds: How long another process may take.

    Raises:
        sqlite3.OperationalError: The file is locked for longer, or the file system refused.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """
    Open a transaction, commit it at the end of the block, undo it if the block raises.

    Within an open transaction the block joins that one: an error in it must leave the outer
    block as well.

    Args:
        db: Opened with ``isolation_level=None``.

    Raises:
        sqlite3.Error: It could not be committed; nothing was changed.
    """
    if db.in_transaction:
        yield db
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        # SQLite ends some transactions itself. One left open would take in all that comes.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
