"""
Corrections: what a job's candidate answered wrong of its own rows, as a file in inbox/, once.

The evaluation makes the rows (evaluation/correcting.py); they lie in its run folder until the job
is retired. Before that is on record the file is put into inbox/, under a name that only this job
has, and only if no trace of that name is found: whatever ends the daemon between two steps, there
is one file. The rows say that they are corrections, and of such rows no more are made.
"""

from __future__ import annotations

import shutil

import structlog

from finetuned.config import Config
from finetuned.core.job import JobKind, JobState
from finetuned.core.line_set import LineSet
from finetuned.errors import ModelError, RegistryError
from finetuned.files.arrived import arrived
from finetuned.files.learnt_file import learnt_file
from finetuned.files.new_file import NewFile
from finetuned.files.rows import JobRow
from finetuned.files.run import CORRECTIONS, CORRECTIONS_REPORT, read_json
from finetuned.files.spec import CorrectionSpec, TrainedFile
from finetuned.registry.versions import read_version
from finetuned.supervisor.context import Context
from finetuned.supervisor.learnt import own_datasets

log = structlog.get_logger()


def correction_spec(context: Context, job: JobRow, config: Config) -> CorrectionSpec | None:
    """
    Return which rows of *job* are asked for corrections; None if none are.

    Raises:
        OSError: The file system refused.
    """
    if not config.data.self_correction or job.kind is not JobKind.TRAINING:
        return None
    unseen = {t.dataset_id: t.unseen for t in context.journal.scores.trained_on(job.id)}
    files = []
    for dataset_id, row in own_datasets(context, job):
        text = unseen.get(dataset_id)
        left = LineSet() if text is None else LineSet.from_text(text)
        if (file := learnt_file(context.layout, row, left)) is not None:
            files.append(
                TrainedFile(
                    dataset=file.dataset, path=file.path, name=file.name, unseen=left.as_text()
                )
            )
    if not files:
        return None
    return CorrectionSpec(
        files=tuple(files),
        datasets=context.layout.datasets,
        max_examples=config.data.correction_examples,
        seconds=config.data.correction_seconds,
        seed=config.training.seed,
    )


def corrections_name(job_id: str) -> str:
    """
    Return the name of the file of a job's corrections in inbox/.
    """
    return f"corrections-{job_id}.jsonl"


def deliver_corrections(context: Context, job: JobRow) -> None:
    """
    Put the corrections of a finished job into inbox/, if its version is or was head. Idempotent.

    Raises:
        OSError: The file system refused; it is tried again.
    """
    if job.state not in (JobState.PROMOTED, JobState.HELD) or job.version is None:
        return
    try:
        run = read_version(context.layout, job.version).manifest.eval_run_id
    except (ModelError, RegistryError):
        return  # whoever repairs or removes the version says so
    report = None if run is None else read_json(context.layout.runs / run / CORRECTIONS_REPORT)
    if run is None or report is None:
        return
    rows = context.layout.runs / run / CORRECTIONS
    if not rows.is_file():
        log.info("corrections_none", job_id=job.id, reason=report.get("none_because"))
        return
    name = corrections_name(job.id)
    if arrived(context.layout, name, context.journal.datasets):
        return
    try:
        with NewFile(context.layout.inbox) as new, rows.open("rb") as made:
            shutil.copyfileobj(made, new.file)
            new.publish(name)
    except FileExistsError:
        return  # somebody put it there in the moment between the looks
    log.info("corrections_queued", job_id=job.id, name=name, rows=report.get("rows"))
