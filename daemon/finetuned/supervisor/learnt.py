"""
The datasets that a job brings, that a version has learnt, and that are new to the release.
"""

from __future__ import annotations

from finetuned.files.rows import DatasetRow, JobRow
from finetuned.files.tables.datasets import EarlierDataset
from finetuned.supervisor.context import Context


def own_datasets(context: Context, job: JobRow) -> list[tuple[str, DatasetRow]]:
    """
    Return the datasets of *job* with their ids, in training order.
    """
    rows = context.journal.datasets.of_job(job.id)
    return [(row.dataset_id, row) for row in rows if row.dataset_id is not None]


def learnt_before(context: Context, job: JobRow, version: str | None) -> list[EarlierDataset]:
    """
    Return the datasets that *version* has learnt, oldest first, if their folders are there.

    Those that *job* brings itself are left out.
    """
    own = {dataset_id for dataset_id, _ in own_datasets(context, job)}
    return [
        dataset
        for dataset in context.journal.learnt(version)
        if dataset.dataset_id not in own and (context.layout.datasets / dataset.dataset_id).is_dir()
    ]


def learnt_since(context: Context, job: JobRow, release: str | None) -> list[EarlierDataset]:
    """
    Return the datasets that the candidate of *job* has learnt and *release* has not, oldest first.

    Those of held heads between the two, if their folders are there, then the job's own, even
    if one was learnt before.
    """
    known = {dataset.dataset_id for dataset in context.journal.learnt(release)}
    held = [d for d in learnt_before(context, job, job.parent) if d.dataset_id not in known]
    own = [EarlierDataset(dataset_id, row.name) for dataset_id, row in own_datasets(context, job)]
    return [*held, *own]
