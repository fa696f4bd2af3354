"""
What a worker is asked to do, as its spec.json, and how it is started.

Reads journal and folders; starts nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from finetuned.config import Config, config_from_dict
from finetuned.core.job import JobKind
from finetuned.core.run import RunKind
from finetuned.errors import ConfigError
from finetuned.files.results import benchmarks_of, trained_rows
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
from finetuned.layout import CANARIES, Layout
from finetuned.registry.versions import read_version
from finetuned.registry.weights import weights_of
from finetuned.supervisor.context import Context

STUCK_IN_EVAL = "stuck_in_eval"
"""Outcome of a run that was killed in a live eval; the job goes on without live evals."""

SUPERSEDED = "superseded"
"""Outcome of a run whose checkpoints no longer count: the incumbent changed under it."""


def check_lineage(context: Context, parent: str | None) -> None:
    """
    Refuse to go on from a version on a base that it was not made on.

    Raises:
        ConfigError: model.base was changed; the message names the ways out.
    """
    if parent is None:
        return
    base = read_version(context.layout, parent).manifest.base
    wanted = context.config.model.base
    if base != wanted:
        raise ConfigError(
            f"model.base is {wanted!r}, but current_model is {parent}, made on {base!r}; "
            "set model.base back, or start afresh: finetuned versions rollback --to-base"
        )


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
    context: Context, job: dict[str, Any], run_id: str
) -> tuple[TrainingSpec, str | None]:
    """
    Return the spec of the next training run of *job*, and the run it resumes, if any.

    Args:
        context: Shared state.
        job: The job's row, its configuration and parent decided.
        run_id: Of the new run.

    Raises:
        BaseModelMissing: The base went away.
    """
    layout, journal = context.layout, context.journal
    runs = [r for r in journal.job_runs(job["id"]) if r["kind"] == RunKind.TRAINING]
    usable = [r for r in runs if r["outcome"] != SUPERSEDED]
    config = config_from_dict(orjson.loads(job["config"]))
    under = weights_of(layout, job["parent"], context.config.model.base)
    canaries = layout.benchmarks / f"{CANARIES}.jsonl"
    spec = TrainingSpec(
        kind=RunKind.TRAINING,
        run_id=run_id,
        worker_growth=_worker_growth(context, config),
        job_id=job["id"],
        job_kind=JobKind(job["kind"]),
        attempt=len(runs) + 1,
        config=config,
        base=under.base,
        base_version=under.base_version,
        parent=layout.versions / job["parent"] if job["parent"] else None,
        datasets=tuple(
            TrainingDataset(
                dir=layout.datasets / d["dataset_id"],
                dataset_id=d["dataset_id"],
                sha256=d["sha256"],
                name=d["name"],
            )
            for d in journal.job_datasets(job["id"])
        ),
        canaries=canaries if canaries.is_file() else None,
        earlier=tuple(
            layout.datasets / d["dataset_id"]
            for d in journal.earlier_datasets(job["id"])
            if (layout.datasets / d["dataset_id"]).is_dir()
        ),
        resume_from=tuple(layout.runs / r["id"] / CHECKPOINTS for r in usable),
        rolled_back=_taken_back(context, job["parent"]),
        live_evals=all(r["outcome"] != STUCK_IN_EVAL for r in runs),
    )
    return spec, usable[-1]["id"] if usable else None


def _worker_growth(context: Context, config: Config) -> float | None:
    """Return what a spec says of its worker's staying; None lets it leave after the run."""
    supervisor = context.config.supervisor
    # Beside a launch no worker waits: its processes want every device for themselves.
    if supervisor.warm_worker_seconds == 0 or config.training.accelerate_config:
        return None
    return supervisor.worker_growth


def _taken_back(context: Context, parent: str | None) -> bool:
    """Whether a person, and not the gate, made *parent* current: the stream was taken back."""
    last = context.journal.row("SELECT version, cause FROM promotions ORDER BY seq DESC LIMIT 1")
    return last is not None and last["version"] == parent and last["cause"] != "gate"


def evaluation_spec(context: Context, job: dict[str, Any], run_id: str) -> EvaluationSpec:
    """
    Return the spec of the evaluation of a trained *job* against base and incumbent.

    Args:
        context: Shared state.
        job: The job's row.
        run_id: Of the new run.

    Raises:
        BaseModelMissing: The base went away.
        RegistryError, ModelError: The incumbent, or what it sits on, is not there.
    """
    layout, journal = context.layout, context.journal
    incumbent, config = journal.incumbent(), config_from_dict(orjson.loads(job["config"]))
    candidate = layout.runs / job["candidate_run"] / CANDIDATE
    base = weights_of(layout, incumbent, context.config.model.base).base
    merged = job["kind"] == JobKind.CONSOLIDATION
    return EvaluationSpec(
        kind=RunKind.EVALUATION,
        run_id=run_id,
        worker_growth=_worker_growth(context, config),
        config=config,
        candidate=SubjectSpec(
            base=candidate if merged else base, folder=None if merged else candidate
        ),
        incumbent=subject_spec(context, incumbent),
        benchmarks=layout.benchmarks,
        answers=layout.answers,
        job=_questions(context, job, incumbent),
    )


def _questions(context: Context, job: dict[str, Any], incumbent: str | None) -> JobQuestions:
    layout, journal = context.layout, context.journal
    datasets = journal.job_datasets(job["id"])
    trained = {d["dataset_id"]: d["n_examples"] for d in trained_rows(journal, job["id"])}
    return JobQuestions(
        job_id=job["id"],
        job_kind=JobKind(job["kind"]),
        base=SubjectSpec(base=context.base()),
        datasets=tuple(
            TrainedDataset(
                dataset_id=d["dataset_id"],
                name=d["name"],
                n_examples=trained.get(d["dataset_id"], 0),
            )
            for d in datasets
        ),
        new=tuple(_held_out(layout, d["dataset_id"], d["name"]) for d in datasets),
        old=tuple(
            _held_out(layout, d["dataset_id"], d["name"])
            for d in journal.earlier_datasets(job["id"])
            if (layout.datasets / d["dataset_id"]).is_dir()
        ),
        also=tuple(benchmarks_of(journal, incumbent)) if incumbent else (),
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
        config=context.config,
        candidate=through_link,
        incumbent=subject_spec(context, before) if compare else None,
        benchmarks=layout.benchmarks,
        answers=layout.answers,
    )


def _held_out(layout: Layout, dataset_id: str, name: str) -> HeldOutRows:
    return HeldOutRows(dir=layout.datasets / dataset_id, name=name)
