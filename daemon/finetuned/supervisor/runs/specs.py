"""
What a worker is asked to do, as its spec.json, and how it is started.

Reads journal and folders; starts nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from finetuned.core.job import JobKind
from finetuned.errors import ConfigError
from finetuned.files.results import benchmarks_of, trained_rows
from finetuned.files.run import CANDIDATE, CHECKPOINTS
from finetuned.layout import CANARIES, Layout
from finetuned.process.worker import WORKER_GROWTH
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


def launch_file(root: Path, config: dict[str, Any]) -> Path | None:
    """
    Return the file by which ``accelerate launch`` starts the worker, None for one process.

    Args:
        root: The root, which the configured name is relative to.
        config: Plain tables of a configuration, such as a job's record of it.

    Raises:
        ConfigError: It is set and not there.
    """
    name = config.get("training", {}).get("accelerate_config", "")
    if not name:
        return None
    path = root / str(name)
    if not path.is_file():
        raise ConfigError(
            f"training.accelerate_config names {path}, which is not a file; make it with: "
            f".venv/bin/accelerate config --config_file {path}"
        )
    return path


def training_spec(context: Context, job: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """
    Return the spec of the next training run of *job*, and the run it resumes, if any.

    Args:
        context: Shared state.
        job: The job's row, its configuration and parent decided.

    Raises:
        BaseModelMissing: The base went away.
    """
    layout, journal = context.layout, context.journal
    runs = [r for r in journal.job_runs(job["id"]) if r["kind"] == "training"]
    usable = [r for r in runs if r["outcome"] != SUPERSEDED]
    config = orjson.loads(job["config"])
    under = weights_of(layout, job["parent"], context.config.model.base)
    spec = {
        "job_kind": job["kind"],
        "base": str(under.base),
        "base_version": under.base_version,
        "config": config,
        "parent": str(layout.versions / job["parent"]) if job["parent"] else None,
        "attempt": len(runs) + 1,
        "datasets": [
            {
                "dir": str(layout.datasets / d["dataset_id"]),
                "dataset_id": d["dataset_id"],
                "sha256": d["sha256"],
                "name": d["name"],
            }
            for d in journal.job_datasets(job["id"])
        ],
        "canaries": str(layout.benchmarks / f"{CANARIES}.jsonl")
        if (layout.benchmarks / f"{CANARIES}.jsonl").is_file()
        else None,
        "earlier": [
            str(layout.datasets / d["dataset_id"])
            for d in journal.earlier_datasets(job["id"])
            if (layout.datasets / d["dataset_id"]).is_dir()
        ],
        "resume_from": [str(layout.runs / r["id"] / CHECKPOINTS) for r in usable],
        "rolled_back": _taken_back(context, job["parent"]),
        "live_evals": all(r["outcome"] != STUCK_IN_EVAL for r in runs),
    }
    return spec | _may_stay(context, config), usable[-1]["id"] if usable else None


def _may_stay(context: Context, config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a spec that lets its worker wait for another run; {} lets it leave."""
    supervisor = context.config.supervisor
    # Beside a launch no worker waits: its processes want every device for themselves.
    launched = config.get("training", {}).get("accelerate_config")
    if supervisor.warm_worker_seconds == 0 or launched:
        return {}
    return {WORKER_GROWTH: supervisor.worker_growth}


def _taken_back(context: Context, parent: str | None) -> bool:
    """Whether a person, and not the gate, made *parent* current: the stream was taken back."""
    last = context.journal.row("SELECT version, cause FROM promotions ORDER BY seq DESC LIMIT 1")
    return last is not None and last["version"] == parent and last["cause"] != "gate"


def evaluation_spec(context: Context, job: dict[str, Any]) -> dict[str, Any]:
    """
    Return the spec of the evaluation of a trained *job* against base and incumbent.

    Raises:
        BaseModelMissing: The base went away.
        RegistryError, ModelError: The incumbent, or what it sits on, is not there.
    """
    layout, journal = context.layout, context.journal
    incumbent, config = journal.incumbent(), orjson.loads(job["config"])
    datasets = journal.job_datasets(job["id"])
    trained = {d["dataset_id"]: d["n_examples"] for d in trained_rows(journal, job["id"])}
    candidate = layout.runs / job["candidate_run"] / CANDIDATE
    base = weights_of(layout, incumbent, context.config.model.base).base
    consolidation = job["kind"] == JobKind.CONSOLIDATION
    return {
        "job_kind": job["kind"],
        "config": config,
        "base": {"base": str(context.base()), "folder": None},
        "incumbent": subject_spec(context, incumbent),
        "candidate": {
            "base": str(candidate if consolidation else base),
            "folder": None if consolidation else str(candidate),
        },
        "datasets": [
            {
                "dataset_id": d["dataset_id"],
                "name": d["name"],
                "n_examples": trained.get(d["dataset_id"], 0),
            }
            for d in datasets
        ],
        "new": [_heldout(layout, d["dataset_id"], d["name"]) for d in datasets],
        "old": [
            _heldout(layout, d["dataset_id"], d["name"])
            for d in journal.earlier_datasets(job["id"])
            if (layout.datasets / d["dataset_id"]).is_dir()
        ],
        "benchmarks": str(layout.benchmarks),
        "also": benchmarks_of(journal, incumbent) if incumbent else [],
        "answers": str(layout.answers),
        **_may_stay(context, config),
    }


def subject_spec(context: Context, version: str | None) -> dict[str, Any]:
    """
    Return where the model of *version* is, as an evaluation's spec says it.

    Raises:
        BaseModelMissing, RegistryError, ModelError: As weights_of.
    """
    weights = weights_of(context.layout, version, context.config.model.base)
    folder = None if weights.folder is None else str(weights.folder)
    return {"version": version, "base": str(weights.base), "folder": folder}


def _heldout(layout: Layout, dataset_id: str, name: str) -> dict[str, str]:
    return {"dir": str(layout.datasets / dataset_id), "name": name}
