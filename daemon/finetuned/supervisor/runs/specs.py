"""
What a worker is asked to do, as its spec.json, and how it is started.

Reads journal and folders; starts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finetuned.config import Config
from finetuned.core.forgetting import replay_weights, second_replay_presentations
from finetuned.core.job import JobKind
from finetuned.core.promotion import HeadCause
from finetuned.core.run import RunKind, RunOutcome
from finetuned.core.suite_origin import HELD_OUT
from finetuned.data.answer_formats import resolved_format
from finetuned.errors import ConfigError, ModelError
from finetuned.files.base_model import portable_name
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.rows import JobRow
from finetuned.files.run import CANDIDATE, CHECKPOINTS
from finetuned.files.spec import (
    EvaluationSpec,
    HeldOutRows,
    JobQuestions,
    SubjectSpec,
    TrainedDataset,
    TrainingDataset,
    TrainingSpec,
)
from finetuned.files.tables.datasets import EarlierDataset
from finetuned.layout import CANARIES, Layout
from finetuned.registry.versions import read_version
from finetuned.registry.weights import weights_of
from finetuned.supervisor.context import Context
from finetuned.supervisor.corrections import correction_spec
from finetuned.supervisor.learnt import learnt_before, learnt_since, own_datasets
from finetuned.supervisor.verdict.history import lineage_stages


def check_lineage(context: Context, parent: str | None) -> None:
    """
    Refuse to go on from a version if model.base is not the base that it was made on.

    Raises:
        ConfigError: model.base was changed; the message names the ways out.
    """
    if parent is None:
        return
    base = read_version(context.layout, parent).manifest.base
    wanted = context.config.model.base
    if base != wanted:
        raise ConfigError(
            f"model.base is {wanted!r}, but training goes on from {parent}, made on {base!r}; "
            "set model.base back, or start afresh: finetuned versions rollback --to-base --head"
        )


def with_more_rehearsal(config: Config) -> Config:
    """
    Return the configuration of a second try: more of the rows are earlier ones.
    """
    more = second_replay_presentations(config.training.replay_presentations)
    return replace(config, training=replace(config.training, replay_presentations=more))


def launch_file(root: Path, name: str) -> Path | None:
    """
    Return the file by which ``accelerate launch`` starts the worker, None for one process.

    Args:
        root: The root, which the configured name is relative to.
        name: ``training.accelerate_config``.

    Raises:
        ConfigError: It is set and there is no such file.
    """
    if not name:
        return None
    path = root / name
    if not path.is_file():
        raise ConfigError(
            f"training.accelerate_config names {path}, which is not a file; make it with: "
            f".venv/bin/accelerate config --config_file {path}"
        )
    return path


def training_spec(
    context: Context, job: JobRow, config: Config, run_id: str
) -> tuple[TrainingSpec, str | None]:
    """
    Return the spec of the next training run of *job*, and the run it resumes, if any.

    Args:
        context: Shared state.
        job: Its parent decided.
        config: That of all runs of the job.
        run_id: Of the new run.

    Raises:
        BaseModelMissing: The base went away.
    """
    layout, journal = context.layout, context.journal
    runs = [r for r in journal.runs.of_job(job.id) if r.kind is RunKind.TRAINING]
    usable = [r for r in runs if r.outcome is not RunOutcome.SUPERSEDED]
    under = weights_of(layout, job.parent, context.config.model.base)
    canaries = layout.benchmarks / f"{CANARIES}.jsonl"
    unseen = journal.books.unseen(journal.versions.lineage(job.parent))
    spec = TrainingSpec(
        kind=RunKind.TRAINING,
        run_id=run_id,
        worker_growth=_worker_growth(context, config),
        job_id=job.id,
        job_kind=job.kind,
        attempt=len(runs) + 1,
        config=config,
        base=under.base,
        base_version=under.base_version,
        base_name=portable_name(layout, context.config.model.base, under.base_version),
        parent=layout.versions / job.parent if job.parent else None,
        datasets=tuple(
            TrainingDataset(
                dir=layout.datasets / dataset_id,
                dataset_id=dataset_id,
                sha256=row.sha256,
                name=row.name,
                lines=unseen[row.key].lines.as_text() if row.key in unseen else None,
            )
            for dataset_id, row in own_datasets(context, job)
        ),
        canaries=canaries if canaries.is_file() else None,
        earlier=tuple(
            layout.datasets / d.dataset_id for d in learnt_before(context, job, job.parent)
        ),
        replay_weights=_replay_weights(context, job.parent),
        resume_from=tuple(layout.runs / r.id / CHECKPOINTS for r in usable),
        rolled_back=_taken_back(context, job.parent),
        live_evals=all(r.outcome is not RunOutcome.STUCK_IN_EVAL for r in runs),
    )
    return spec, usable[-1].id if usable else None


def _replay_weights(context: Context, parent: str | None) -> dict[str, float]:
    """Return by dataset id what the last evaluations say about how often it is rehearsed."""
    stages, _ = lineage_stages(context.journal, parent)
    return {
        suite.removeprefix(HELD_OUT): weight
        for suite, weight in replay_weights(stages).items()
        if suite.startswith(HELD_OUT)
    }


def _worker_growth(context: Context, config: Config) -> float | None:
    """Return worker_growth of the next spec; None ends the worker after the run."""
    supervisor = context.config.supervisor
    # No worker waits beside a launch: the launched processes need every device.
    if supervisor.warm_worker_seconds == 0 or config.training.accelerate_config:
        return None
    return supervisor.worker_growth


def _taken_back(context: Context, parent: str | None) -> bool:
    """Return whether *parent* is the head by a decision that is no verdict, e.g. a roll-back."""
    last = context.journal.heads.last()
    verdicts = (HeadCause.HELD, HeadCause.PROMOTED)
    return last is not None and last.version == parent and last.cause not in verdicts


def evaluation_spec(context: Context, job: JobRow, run_id: str) -> EvaluationSpec:
    """
    Return the spec of the evaluation of a trained *job* against base, release and head.

    Args:
        context: Shared state.
        job: The job, trained.
        run_id: Of the new run.

    Raises:
        BaseModelMissing: The base went away.
        RegistryError, ModelError: Release or head, or what one sits on, is not there.
    """
    layout, journal = context.layout, context.journal
    release, config = journal.promotions.incumbent(), job.resolved_config()
    candidate = layout.runs / str(job.candidate_run) / CANDIDATE
    base = weights_of(layout, job.parent, context.config.model.base).base
    merged = job.kind is JobKind.CONSOLIDATION
    return EvaluationSpec(
        kind=RunKind.EVALUATION,
        run_id=run_id,
        worker_growth=_worker_growth(context, config),
        config=config,
        candidate=SubjectSpec(
            base=candidate if merged else base, folder=None if merged else candidate
        ),
        incumbent=subject_spec(context, release),
        head=None if job.parent == release else subject_spec(context, job.parent),
        benchmarks=layout.benchmarks,
        answers=layout.answers,
        answer_format=resolved_format(config.model.answer_format, layout.root),
        job=replace(
            _questions(context, job, release, run_id),
            training_seconds=None if merged else _training_seconds(candidate),
        ),
        corrections=correction_spec(context, job, config),
    )


def _training_seconds(candidate: Path) -> float | None:
    try:
        return read_model_manifest(candidate).training_seconds
    except (ModelError, OSError):
        return None  # the worker reads the manifest too, and says what is wrong with it


def _questions(context: Context, job: JobRow, release: str | None, run_id: str) -> JobQuestions:
    layout, journal = context.layout, context.journal
    datasets = own_datasets(context, job)
    trained = {t.dataset_id: t.n_examples for t in journal.scores.trained_on(job.id)}
    return JobQuestions(
        job_id=job.id,
        job_kind=job.kind,
        base=SubjectSpec(base=context.base()),
        datasets=tuple(
            TrainedDataset(
                dataset_id=dataset_id,
                name=row.name,
                n_examples=trained.get(dataset_id, 0),
            )
            for dataset_id, row in datasets
        ),
        new=_held_out(layout, learnt_since(context, job, release)),
        old=_held_out(layout, learnt_before(context, job, release)),
        look=journal.next_look(run_id),
        also=tuple(journal.scores.benchmarks_of(release)) if release else (),
    )


def subject_spec(context: Context, version: str | None) -> SubjectSpec:
    """
    Return where the model of *version* is.

    Raises:
        BaseModelMissing, RegistryError, ModelError: As weights_of.
    """
    weights = weights_of(context.layout, version, context.config.model.base)
    return SubjectSpec(base=weights.base, folder=weights.folder, version=version)


def watch_spec(
    context: Context, run_id: str, *, served: str, before: str | None, compare: bool
) -> EvaluationSpec:
    """
    Return the spec of a run that asks the canaries of the version in use.

    Args:
        context: Shared state.
        run_id: Of the new run.
        served: The version in use, asked through current_model as whoever serves it does.
        before: The version before it; None is the base model.
        compare: Whether *before* is asked as well.

    Raises:
        BaseModelMissing, RegistryError, ModelError: As weights_of.
    """
    layout = context.layout
    model, link = subject_spec(context, served), layout.current_model
    through_link = (
        replace(model, base=link) if model.folder is None else replace(model, folder=link)
    )
    return EvaluationSpec(
        kind=RunKind.WATCH,
        run_id=run_id,
        worker_growth=_worker_growth(context, context.config),
        config=context.config,
        candidate=through_link,
        incumbent=subject_spec(context, before) if compare else None,
        benchmarks=layout.benchmarks,
        answers=layout.answers,
        answer_format=resolved_format(context.config.model.answer_format, layout.root),
    )


def _held_out(layout: Layout, datasets: Sequence[EarlierDataset]) -> tuple[HeldOutRows, ...]:
    return tuple(HeldOutRows(dir=layout.datasets / d.dataset_id, name=d.name) for d in datasets)
