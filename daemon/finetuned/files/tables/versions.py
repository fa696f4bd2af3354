"""
Versions in the journal, and which of them was in use when.
"""

from __future__ import annotations

from finetuned.core.notice import NoticeKind
from finetuned.core.promotion import PromotionCause, VersionVerdict
from finetuned.files.database import Database
from finetuned.files.rows import PromotionRow, VersionRow
from finetuned.files.run import utc_now
from finetuned.files.tables.notices import Notices


class Versions:
    """
    The table ``versions``: every version ever committed, promoted or rejected.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[VersionRow]:
        """
        Return every version ever recorded, by number.
        """
        return self._database.read(VersionRow, "SELECT * FROM versions ORDER BY length(id), id")

    def unexplained(self) -> int:
        """
        Return of how many versions no job is recorded, so that what they learnt is not known.

        There are none until a journal is made again without the manifests of some.
        """
        row = self._database.db.execute("SELECT count(*) FROM versions WHERE job_id IS NULL")
        return int(row.fetchone()[0])

    def parents(self) -> dict[str, str | None]:
        """
        Return the version that each version was trained on; None is the base model.
        """
        return {row.id: row.parent for row in self.all()}

    def lineage(self, version: str | None) -> list[str]:
        """
        Return *version* and its ancestors, oldest first.
        """
        parents = self.parents()
        chain: list[str] = []
        while version is not None and version in parents and version not in chain:
            chain.append(version)
            version = parents[version]
        return chain[::-1]

    def add(
        self,
        version: str,
        verdict: VersionVerdict,
        *,
        parent: str | None,
        job_id: str | None = None,
        run_id: str | None = None,
        created_at: str | None = None,
    ) -> None:
        """
        Record a committed version; one that is recorded already is left alone.

        Args:
            version: Its name.
            verdict: The gate's.
            parent: The version it was trained on; None is the base model.
            job_id: The job that made it, if known.
            run_id: The run that left the candidate, if known.
            created_at: RFC 3339 UTC; now if None.
        """
        self._database.change(
            "INSERT OR IGNORE INTO versions (id, parent, job_id, run_id, verdict, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (version, parent, job_id, run_id, verdict, created_at or utc_now()),
        )


class Promotions:
    """
    The table ``promotions``: every decision on the version in use; the last is in force.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> PromotionRow | None:
        """
        Return the decision in force, or None if none was ever made.
        """
        return self._database.read_one(
            PromotionRow, "SELECT * FROM promotions ORDER BY seq DESC LIMIT 1"
        )

    def all(self) -> list[PromotionRow]:
        """
        Return every decision, the first one first.
        """
        return self._database.read(PromotionRow, "SELECT * FROM promotions ORDER BY seq")

    def incumbent(self) -> str | None:
        """
        Return the version that current_model has to point at; None is the base model.
        """
        last = self.last()
        return None if last is None else last.version

    def versions(self) -> set[str]:
        """
        Return every version that was ever in use.
        """
        return set(self._database.texts("SELECT version FROM promotions WHERE version IS NOT NULL"))

    def number(self) -> int:
        """
        Return the number of the decision in force, 0 if none was ever made.
        """
        last = self.last()
        return 0 if last is None else last.seq

    def last_by_gate(self, version: str) -> PromotionRow | None:
        """
        Return the gate's last decision for *version*, or None.
        """
        return self._database.read_one(
            PromotionRow,
            "SELECT * FROM promotions WHERE version = ? AND cause = 'gate'"
            " ORDER BY seq DESC LIMIT 1",
            (version,),
        )

    def before(self, seq: int) -> PromotionRow | None:
        """
        Return the decision that was in force before decision number *seq*, or None.
        """
        return self._database.read_one(
            PromotionRow,
            "SELECT * FROM promotions WHERE seq < ? ORDER BY seq DESC LIMIT 1",
            (seq,),
        )

    def add(self, version: str | None, cause: PromotionCause) -> None:
        """
        Decide on the version in use, None for the base model.

        The link current_model follows, at once or in recovery.
        """
        with self._database.write():
            if (why := _TAKEN_BACK.get(cause)) is not None:
                lost, now = self.incumbent() or "the base model", version or "the base model"
                Notices(self._database).add(
                    NoticeKind.TAKEN_BACK,
                    f"{lost} {why}; {now} is in use again",
                    version=self.incumbent(),
                )
            self._database.change(
                "INSERT INTO promotions (version, cause, at) VALUES (?, ?, ?)",
                (version, cause, utc_now()),
            )


_TAKEN_BACK = {
    PromotionCause.WATCH: "failed after its promotion (see logs/incidents/)",
    PromotionCause.FALLBACK: "is damaged, and so is its backup",
}
"""Why the daemon itself put another version in use."""
