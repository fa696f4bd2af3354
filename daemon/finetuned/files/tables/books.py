"""
The books in the journal: which files the head has learnt, and how many rows each fate has.

Reads what the other tables record; core.books says what it means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from finetuned.core.books import (
    Books,
    Fate,
    Group,
    RowCounts,
    Rows,
    Standing,
    add_up,
    fate_of,
    rows_of,
)
from finetuned.core.dataset_state import DatasetState
from finetuned.core.head import NewHead, how_left
from finetuned.core.job import JobState
from finetuned.core.line_set import LineSet
from finetuned.core.retry import learnt_by_then
from finetuned.errors import ModelError
from finetuned.files.database import Database
from finetuned.files.rows import DatasetRow, JobRow
from finetuned.files.tables.heads import Heads
from finetuned.files.tables.versions import Versions

_LEARNT = (
    "SELECT g.key, j.version, l.key AS age FROM json_each(?) l"
    " JOIN jobs j ON j.version = l.value JOIN dataset_jobs g ON g.job_id = j.id"
)
"""The files that each version of a lineage learnt; the argument is the lineage as JSON."""

_UNSEEN = (
    "SELECT g.key, t.unseen, t.unseen_because FROM json_each(?) l"
    " JOIN jobs j ON j.version = l.value JOIN dataset_jobs g ON g.job_id = j.id"
    " JOIN datasets d ON d.key = g.key"
    " LEFT JOIN trained t ON t.job_id = j.id AND t.dataset_id = d.dataset_id"
    " WHERE d.dataset_id IN (SELECT dataset_id FROM trained WHERE unseen IS NOT NULL)"
    " ORDER BY l.key"
)
"""For each training of a lineage on a file of which some training left rows out, which ones."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """
    Rows of a learnt file that no step of the trainings that learnt it had.
    """

    lines: LineSet
    because: str | None
    """Why the last of those trainings did not have them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One file on the books.
    """

    dataset: DatasetRow
    job: JobRow | None
    """Its last job."""
    learnt_by: str | None
    """The version of the head's lineage that was trained on it."""
    unseen: Unseen | None = None
    """Its rows that were in no step of those trainings; None if there are none."""
    left: NewHead | None = None
    """The decision on the head that left the version that had learnt it, if one did."""

    @property
    def made(self) -> str | None:
        """The version that its last job made, or that had learnt it when that job was skipped."""
        job = self.job
        return None if job is None else job.version or learnt_by_then(job.reason or "")

    @property
    def standing(self) -> Standing:
        """What decides its fate."""
        return Standing(
            self.dataset.state,
            copied=self.dataset.duplicate_of is not None,
            job=None if self.job is None else self.job.state,
            learnt=self.learnt_by is not None,
        )

    @property
    def fate(self) -> Fate:
        """What became of its rows that were meant for training."""
        return fate_of(self.standing)

    @property
    def n_unseen(self) -> int:
        """How many rows of a learnt file are not learnt."""
        return 0 if self.unseen is None else len(self.unseen.lines)

    @property
    def rows(self) -> Rows | None:
        """Its rows by what became of them; None until they are counted."""
        counts = self.dataset.counts
        return None if counts is None else rows_of(self.standing, counts, self.n_unseen)

    @property
    def has_unlearnt_rows(self) -> bool:
        """Whether rows of it can be queued again: they do not wait, and were not learnt."""
        return self.fate is Fate.NOT_LEARNT or (self.fate is Fate.LEARNT and self.n_unseen > 0)


class BookRecords:
    """
    Questions about all dropped files together.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: tuple[int, int] | None = None
        self._books = Books()

    def balance(self, lineage: Callable[[], Sequence[str]]) -> Books:
        """
        Return the books; counted again only if the journal changed since the last call.

        Args:
            lineage: Returns the head and its ancestors, oldest first, as the journal has them.
        """
        db = self._database.db
        (version,) = db.execute("PRAGMA data_version").fetchone()
        seen = (int(version), db.total_changes)
        if seen != self._seen:
            lost = Versions(self._database).unexplained()
            self._books, self._seen = add_up(self._groups(lineage()), lost_versions=lost), seen
        return self._books

    def _groups(self, lineage: Sequence[str]) -> list[Group]:
        found = self._database.db.execute(
            f"WITH learnt AS (SELECT DISTINCT key FROM ({_LEARNT}))"  # noqa: S608
            " SELECT d.state, d.duplicate_of IS NOT NULL, j.state, l.key IS NOT NULL,"
            " count(*), count(n_rows), total(n_rows),"
            " total(iif(n_rows IS NULL, 0, n_refused)), total(iif(n_rows IS NULL, 0, n_heldout)),"
            " total(iif(n_rows IS NULL, 0, n_reserved)),"
            " total(iif(n_rows IS NULL, 0, n_train_rows))"
            " FROM datasets d LEFT JOIN jobs j ON j.id = d.job_id"
            " LEFT JOIN learnt l ON l.key = d.key GROUP BY 1, 2, 3, 4",
            (_json(lineage),),
        )
        word = self._database.word
        unseen = self._unseen_by_standing(lineage)
        groups = []
        for state, copied, job, learnt, n_files, n_counted, *counts in found:
            standing = Standing(
                word(DatasetState, state, "datasets", "any"),
                copied=bool(copied),
                job=None if job is None else word(JobState, job, "jobs", "any"),
                learnt=bool(learnt),
            )
            sums = RowCounts(*map(int, counts))
            groups.append(Group(standing, n_files, n_counted, sums, unseen[standing]))
        return groups

    def _unseen_by_standing(self, lineage: Sequence[str]) -> Counter[Standing]:
        """Return how many rows that no step had the counted files of each standing have."""
        found: Counter[Standing] = Counter()
        if not self.unseen(lineage):
            return found
        for entry in self.entries(lineage):
            if entry.n_unseen and (counts := entry.dataset.counts) is not None:
                found[entry.standing] += min(entry.n_unseen, counts.to_train)
        return found

    def unseen(self, lineage: Sequence[str]) -> dict[str, Unseen]:
        """
        Return, for the key of each file that a lineage learnt in part, the rows left out.

        Args:
            lineage: A version and its ancestors, oldest first.

        Raises:
            ModelError: A record is damaged.
        """
        found: dict[str, Unseen] = {}
        if not self._database.texts("SELECT 1 FROM trained WHERE unseen IS NOT NULL LIMIT 1"):
            return found
        for key, text, because in self._database.db.execute(_UNSEEN, (_json(lineage),)):
            try:
                lines = LineSet() if text is None else LineSet.from_text(text)
            except ValueError as error:
                raise ModelError(f"journal: trained.unseen of {key}: {error}") from None
            earlier = found.get(key)
            found[key] = Unseen(lines if earlier is None else lines & earlier.lines, because)
        return {key: unseen for key, unseen in found.items() if unseen.lines}

    def learnt(self, lineage: Sequence[str]) -> dict[str, str]:
        """
        Return, for the key of each file that a lineage was trained on, the version that was.

        Args:
            lineage: A version and its ancestors, oldest first.
        """
        found = self._database.db.execute(f"{_LEARNT} ORDER BY age", (_json(lineage),))
        return {str(key): str(version) for key, version, _ in found}

    def entries(self, lineage: Sequence[str]) -> list[Entry]:
        """
        Return every file on the books, by arrival.
        """
        learnt, unseen = self.learnt(lineage), self.unseen(lineage)
        jobs = {job.id: job for job in self._database.read(JobRow, "SELECT * FROM jobs")}
        found = [
            Entry(
                row,
                None if row.job_id is None else jobs.get(row.job_id),
                learnt.get(row.key),
                unseen.get(row.key),
            )
            for row in self._database.read(DatasetRow, "SELECT * FROM datasets ORDER BY key")
        ]
        if not any(entry.fate is Fate.NOT_LEARNT and entry.made for entry in found):
            return found
        decisions = [NewHead(row.version, row.cause) for row in Heads(self._database).all()]
        left = how_left(decisions, Versions(self._database).parents())
        return [replace(entry, left=left.get(entry.made or "")) for entry in found]

    def entry(self, key: str, lineage: Sequence[str]) -> Entry | None:
        """
        Return one file, without ``left``; None if no claim has this key.
        """
        read_one = self._database.read_one
        row = read_one(DatasetRow, "SELECT * FROM datasets WHERE key = ?", (key,))
        if row is None:
            return None
        job = read_one(JobRow, "SELECT * FROM jobs WHERE id = ?", (row.job_id or "",))
        return Entry(row, job, self.learnt(lineage).get(key), self.unseen(lineage).get(key))

    def copies(self, dataset: DatasetRow) -> list[str]:
        """
        Return the keys of other files with the same bytes that were trained or wait, by arrival.
        """
        return self._database.texts(
            "SELECT key FROM datasets WHERE dataset_id = ? AND key <> ? AND duplicate_of IS NULL"
            " AND state IN ('accepted', 'retired') ORDER BY key",
            (dataset.dataset_id, dataset.key),
        )

    def newest(self, limit: int) -> list[DatasetRow]:
        """
        Return the *limit* datasets that came in last, the newest first.
        """
        return self._database.read(
            DatasetRow, "SELECT * FROM datasets ORDER BY key DESC LIMIT ?", (limit,)
        )

    def uncounted(self) -> list[DatasetRow]:
        """
        Return the files that were read and whose rows are not counted.
        """
        return self._database.read(
            DatasetRow,
            "SELECT * FROM datasets WHERE n_rows IS NULL AND state <> 'claimed' ORDER BY key",
        )


def _json(lineage: Sequence[str]) -> str:
    return orjson.dumps(list(lineage)).decode()
