"""
Dropped files in the journal: claimed, validated, given to a job, retired.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import orjson

from finetuned.core.books import RowCounts
from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import FINAL_STATES, JobState
from finetuned.core.situation import Accepted
from finetuned.files.database import Database
from finetuned.files.rows import DatasetRow
from finetuned.files.run import utc_now
from finetuned.layout import Priority


@dataclass(frozen=True, slots=True)
class Claim:
    """
    A file as it is taken out of the inbox.
    """

    key: str
    name: str
    """File name, percent-encoded where it is not printable."""
    inbox_path: bytes
    """Path below inbox/."""
    priority: Priority
    n_bytes: int


@dataclass(frozen=True, slots=True)
class EarlierDataset:
    """
    A dataset that a version has learnt.
    """

    dataset_id: str
    name: str
    """File name as dropped; the id if no claim of it is recorded any more."""


class Datasets:
    """
    The table ``datasets``. Every method that changes it is one transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading ----------------------------------------------------------------

    def get(self, key: str) -> DatasetRow | None:
        """
        Return one dataset, or None.
        """
        return self._database.read_one(DatasetRow, "SELECT * FROM datasets WHERE key = ?", (key,))

    def in_state(self, state: DatasetState, *, limit: int = -1) -> list[DatasetRow]:
        """
        Return the datasets in *state* by arrival, at most *limit* of them; -1 is all.
        """
        return self._database.read(
            DatasetRow,
            "SELECT * FROM datasets WHERE state = ? ORDER BY key LIMIT ?",
            (state, limit),
        )

    def keys(self) -> set[str]:
        """
        Return the key of every claim ever recorded.
        """
        return set(self._database.texts("SELECT key FROM datasets"))

    def counts(self) -> dict[DatasetState, int]:
        """
        Return how many datasets are in each state; states without one are left out.
        """
        return self._database.counts("datasets", DatasetState)

    def without_job(self) -> list[Accepted]:
        """
        Return accepted datasets that wait for a job, by arrival.

        Read at every turn, of tens of thousands of datasets: three columns only.
        """
        found = self._database.db.execute(
            "SELECT key, priority, n_train FROM datasets"
            " WHERE state = 'accepted' AND job_id IS NULL ORDER BY key"
        )
        known: dict[str, Priority] = {str(priority): priority for priority in Priority}
        return [
            Accepted(
                key,
                known.get(word) or self._database.word(Priority, word, "datasets", key),
                n or 0,
            )
            for key, word, n in found
        ]

    def count_without_job(self) -> int:
        """
        Return how many accepted datasets wait for a job.
        """
        row = self._database.db.execute(
            "SELECT count(*) FROM datasets WHERE state = 'accepted' AND job_id IS NULL"
        ).fetchone()
        return int(row[0])

    def of_job(self, job_id: str) -> list[DatasetRow]:
        """
        Return the datasets of one job, in training order.
        """
        return self._database.read(
            DatasetRow, "SELECT * FROM datasets WHERE job_id = ? ORDER BY key", (job_id,)
        )

    def earlier_copy(self, dataset_id: str, *, than: str) -> DatasetRow | None:
        """
        Return the earliest accepted dataset with these bytes, other than claim *than*.

        A dataset whose job failed or was skipped does not count: dropping its bytes
        again is how a person asks for another try.
        """
        return self._database.read_one(
            DatasetRow,
            "SELECT d.* FROM datasets d LEFT JOIN jobs j ON j.id = d.job_id"
            " WHERE d.dataset_id = ? AND d.key <> ? AND d.state IN ('accepted', 'retired')"
            " AND d.duplicate_of IS NULL"
            " AND coalesce(j.state, 'queued') NOT IN ('failed', 'skipped') ORDER BY d.key LIMIT 1",
            (dataset_id, than),
        )

    def learnt_by(self, versions: Sequence[str]) -> list[EarlierDataset]:
        """
        Return the datasets that the trainings of *versions* were made on, oldest first.

        What the gate or a person said of the versions does not matter.
        """
        found = self._database.db.execute(
            "SELECT t.dataset_id, coalesce(min(d.name), t.dataset_id) FROM trained t"
            " JOIN jobs j ON j.id = t.job_id LEFT JOIN datasets d ON d.dataset_id = t.dataset_id"
            " WHERE j.version IN (SELECT value FROM json_each(?))"
            " GROUP BY t.dataset_id ORDER BY min(t.at), t.dataset_id",
            (orjson.dumps(list(versions)).decode(),),
        )
        return [EarlierDataset(dataset_id, name) for dataset_id, name in found]

    def size_of(self, inbox_path: bytes) -> int | None:
        """
        Return the size in bytes of the last file claimed from *inbox_path*, None if none was.
        """
        row = self._database.db.execute(
            "SELECT bytes FROM datasets WHERE inbox_path = ? ORDER BY key DESC LIMIT 1",
            (inbox_path,),
        ).fetchone()
        return None if row is None else int(row[0])

    def with_held_out_rows(self) -> set[str]:
        """
        Return the ids of the datasets that keep rows for evaluation.
        """
        return set(
            self._database.texts("SELECT DISTINCT dataset_id FROM datasets WHERE n_heldout > 0")
        )

    # -- writing ----------------------------------------------------------------

    def next_keys(self, count: int) -> list[str]:
        """
        Return *count* keys that no claim ever had, in order.
        """
        first = self._database.next_number("claim", count=count)
        return [f"d{n:08d}" for n in range(first, first + count)]

    def reserve_keys(self, up_to: int) -> None:
        """
        Never give a key with a number <= *up_to*: an original in done/ has it already.
        """
        self._database.reserve_numbers("claim", up_to=up_to)

    def add(self, claims: Sequence[Claim]) -> None:
        """
        Record claims; those whose keys are recorded already are left alone.
        """
        now = utc_now()
        with self._database.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO datasets"
                " (key, name, inbox_path, priority, bytes, claimed_at, state)"
                " VALUES (:key, :name, :inbox_path, :priority, :n_bytes, :now, 'claimed')",
                [{**asdict(claim), "now": now} for claim in claims],
            )

    def forget_claim(self, key: str) -> None:
        """
        Delete the record of a claim whose file went back to the inbox.
        """
        self._database.change("DELETE FROM datasets WHERE key = ? AND state = 'claimed'", (key,))

    def note_size(self, key: str, n_bytes: int) -> None:
        """
        Record the size of a claimed file that changed after its claim.
        """
        self._database.change("UPDATE datasets SET bytes = ? WHERE key = ?", (n_bytes, key))

    def accept(
        self,
        key: str,
        *,
        dataset_id: str,
        sha256: str | None,
        n_train: int,
        n_heldout: int,
        counts: RowCounts | None = None,
    ) -> None:
        """
        Record that a claimed file is valid, and what it holds.

        Earlier files with these bytes whose jobs came to nothing are marked as copies of
        this one, which goes on with their history: the rows are on the books once.

        Args:
            key: The claim.
            dataset_id: First 16 hex digits of *sha256*.
            sha256: Of its bytes, in hex, if known.
            n_train: Training sequences, >= 0.
            n_heldout: Rows kept for evaluation, >= 0.
            counts: How its rows were divided, if known.
        """
        with self._database.write() as db:
            db.execute(
                "UPDATE datasets SET state = 'accepted', dataset_id = ?, sha256 = ?, n_train = ?,"
                " n_heldout = ? WHERE key = ?",
                (dataset_id, sha256, n_train, n_heldout, key),
            )
            self._replace_copies(key, dataset_id, [JobState.FAILED, JobState.SKIPPED])
            self.note_counts(key, counts)

    def _replace_copies(self, key: str, dataset_id: str, ended: Collection[JobState]) -> None:
        """Mark other files with these bytes, whose jobs so *ended*, as copies; take their jobs."""
        states = orjson.dumps(list(ended)).decode()
        replaced = self._database.change(
            "UPDATE datasets SET duplicate_of = ?1 WHERE dataset_id = ?2 AND key <> ?1"
            " AND duplicate_of IS NULL AND state IN ('accepted', 'retired') AND job_id IN"
            " (SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(?3)))",
            (key, dataset_id, states),
        )
        if replaced:
            self._database.change(
                "INSERT OR IGNORE INTO dataset_jobs SELECT ?1, o.job_id FROM dataset_jobs o"
                " JOIN datasets d ON d.key = o.key WHERE d.dataset_id = ?2 AND d.duplicate_of = ?1",
                (key, dataset_id),
            )

    def mark_duplicate(
        self,
        key: str,
        *,
        dataset_id: str,
        sha256: str | None,
        of: DatasetRow,
        counts: RowCounts | None = None,
    ) -> None:
        """
        Record that a claimed file has the bytes of the earlier dataset *of*.
        """
        with self._database.write() as db:
            db.execute(
                "UPDATE datasets SET state = 'duplicate', dataset_id = ?, sha256 = ?,"
                " duplicate_of = ?, reason = ? WHERE key = ?",
                (dataset_id, sha256, of.key, f"same bytes as {of.name} ({of.key})", key),
            )
            self.note_counts(key, counts)

    def quarantine(self, key: str, reason: str, counts: RowCounts | None = None) -> None:
        """
        Record that a claimed file is refused.
        """
        with self._database.write() as db:
            db.execute(
                "UPDATE datasets SET state = 'quarantined', reason = ? WHERE key = ?",
                (reason, key),
            )
            self.note_counts(key, counts)

    def note_counts(self, key: str, counts: RowCounts | None) -> None:
        """
        Record how the rows of a file were divided; None, if that is not known, changes nothing.
        """
        if counts is not None:
            self._database.change(
                "UPDATE datasets SET n_rows = :read, n_refused = :refused, n_heldout = :held_out,"
                " n_reserved = :reserved, n_train_rows = :to_train WHERE key = :key",
                {**asdict(counts), "key": key},
            )

    def note_failure(self, key: str, reason: str) -> None:
        """
        Record why the job of a dataset failed.
        """
        self._database.change("UPDATE datasets SET reason = ? WHERE key = ?", (reason, key))

    def note_place(self, key: str, final_path: str) -> None:
        """
        Record where the original is now, relative to the root.
        """
        self._database.change("UPDATE datasets SET final_path = ? WHERE key = ?", (final_path, key))

    def retire(self, key: str) -> None:
        """
        Record that the dataset's job is over and its original in its last place.
        """
        self._database.change("UPDATE datasets SET state = 'retired' WHERE key = ?", (key,))

    def restore(
        self, key: str, *, name: str, dataset_id: str, sha256: str | None, job_id: str, at: str
    ) -> None:
        """
        Record a dataset of which only a version's manifest knows; a recorded one is left alone.

        Earlier versions may have been trained on the same bytes: it goes on with their history.

        Args:
            key: Of no claim that was ever made.
            name: File name as dropped.
            dataset_id: First 16 hex digits of *sha256*.
            sha256: Of its bytes, in hex, if known.
            job_id: The job that it was trained in.
            at: RFC 3339 UTC of the version.
        """
        with self._database.write() as db:
            added = db.execute(
                "INSERT OR IGNORE INTO datasets (key, name, inbox_path, priority, bytes,"
                " claimed_at, state, dataset_id, sha256, job_id)"
                " VALUES (?, ?, x'', 'normal', 0, ?, 'retired', ?, ?, ?)",
                (key, name, at, dataset_id, sha256, job_id),
            )
            if added.rowcount:
                db.execute("INSERT INTO dataset_jobs VALUES (?, ?)", (key, job_id))
                self._replace_copies(key, dataset_id, FINAL_STATES)
