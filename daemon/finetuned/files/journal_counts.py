"""
Numbers of the journal for metrics, counted in bounded time.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobState
from finetuned.core.promotion import PromotionCause, VersionVerdict
from finetuned.files.database import Database

LAST_VERDICTS = 100
"""How far back a row of rejected candidates is followed."""

_STEPS = 20_000
"""Instructions of SQLite between two looks at the clock; about 0.2 ms."""


@dataclass(frozen=True, slots=True)
class JournalCounts:
    """
    What the journal held at one moment; every word of an enum is there, with 0 if need be.
    """

    datasets: Mapping[DatasetState, int]
    jobs: Mapping[JobState, int]
    verdicts: Mapping[VersionVerdict, int]
    promotions: Mapping[PromotionCause, int]
    rejected_in_a_row: int
    """Since the last candidate that was not, at most LAST_VERDICTS."""
    diverged: int
    """Jobs whose last failure was a loss that was not finite."""


def count_journal(database: Database, *, seconds: float) -> JournalCounts:
    """
    Count.

    Args:
        database: Only read.
        seconds: A count that takes longer is given up.

    Raises:
        sqlite3.OperationalError: It took longer, or the file system refused.
        CorruptRow: A word of the journal is none of this program's.
    """
    end = time.monotonic() + seconds
    database.db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
    try:
        return _count(database)
    finally:
        database.db.set_progress_handler(None, 0)


def _count(database: Database) -> JournalCounts:
    verdicts = dict.fromkeys(VersionVerdict, 0)
    causes = dict.fromkeys(PromotionCause, 0)
    db = database.db
    for word, n in db.execute("SELECT verdict, count(*) FROM versions GROUP BY 1"):
        verdicts[database.word(VersionVerdict, word, "versions", "any")] = int(n)
    for word, n in db.execute("SELECT cause, count(*) FROM promotions GROUP BY 1"):
        causes[database.word(PromotionCause, word, "promotions", "any")] = int(n)
    (diverged,) = db.execute("SELECT count(*) FROM jobs WHERE error_type = 'Diverged'").fetchone()
    return JournalCounts(
        datasets={**dict.fromkeys(DatasetState, 0), **database.counts("datasets", DatasetState)},
        jobs={**dict.fromkeys(JobState, 0), **database.counts("jobs", JobState)},
        verdicts=verdicts,
        promotions=causes,
        rejected_in_a_row=_rejected_in_a_row(db),
        diverged=int(diverged),
    )


def _rejected_in_a_row(db: sqlite3.Connection) -> int:
    last = db.execute(
        "SELECT verdict FROM versions ORDER BY length(id) DESC, id DESC LIMIT ?", (LAST_VERDICTS,)
    )
    n = 0
    for (verdict,) in last:
        if verdict != VersionVerdict.REJECTED:
            break
        n += 1
    return n
