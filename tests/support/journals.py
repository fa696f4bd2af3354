"""
A journal with something in it, for tests that need no processes.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.core.head import NewHead
from finetuned.core.job import JobEvent
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.files.journal import Journal
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Priority

TO_EVALUATING = (JobEvent.START, JobEvent.FINISH, JobEvent.START)


def add_accepted(journal: Journal, key: str, dataset_id: str, *, n_train: int = 8) -> None:
    """
    Record a claimed file and that it is valid.
    """
    journal.datasets.add([Claim(key, f"{key}.jsonl", b"x", Priority.NORMAL, 1)])
    journal.datasets.accept(
        key, dataset_id=dataset_id, sha256=dataset_id * 4, n_train=n_train, n_heldout=1
    )


def add_job(journal: Journal, key: str, dataset_id: str) -> str:
    """
    Record a job of one accepted dataset; return its id.
    """
    add_accepted(journal, key, dataset_id)
    return journal.jobs.add(Priority.NORMAL, [key])


def promote_job(journal: Journal, key: str, dataset_id: str, version: str) -> str:
    """
    Record a job whose candidate became *version* and is in use; return the job's id.
    """
    job_id = add_job(journal, key, dataset_id)
    parent = journal.promotions.incumbent()
    for event in TO_EVALUATING:
        journal.jobs.move(job_id, event)
    journal.conclude(job_id, JobEvent.ACCEPT, version=version, parent=parent, reason="better")
    return job_id


def release(journal: Journal, version: str | None, cause: PromotionCause) -> None:
    """
    Record that *version* is head and release.
    """
    moved = HeadCause.PROMOTED if cause is PromotionCause.GATE else HeadCause(cause)
    journal.put_in_use(version, cause, head=NewHead(version, moved))


def open_journal(folder: Path) -> Journal:
    """
    Return a new journal in *folder*.
    """
    return Journal(folder / "journal.sqlite3")
