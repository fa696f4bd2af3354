"""
The folder that a finished run leaves: a model that can become a version.

It loads with ``PeftModel.from_pretrained(base, folder)``, or as a full model, and carries
its tokenizer, its template and the training state that the next job goes on from. Does
not know whether it is any good.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from finetuned.data.replay import Reservoir
from finetuned.files.atomic import publish_dir
from finetuned.files.base_model import BaseName
from finetuned.files.manifest import write_manifest
from finetuned.files.model_manifest import HELD_OUT_LOSSES
from finetuned.files.rank import rank
from finetuned.files.run import CANDIDATE, utc_now
from finetuned.merging.stock_files import name_base, write_stock_files
from finetuned.model.tensors import disk_errors
from finetuned.training.checkpoint import Snapshot
from finetuned.training.coverage import Coverage, coverage
from finetuned.training.family_folders import write_family_folders
from finetuned.training.job import Job, JobStart
from finetuned.training.optimizer import optimizer_tensors
from finetuned.training.parent_average import KeptShare
from finetuned.training.parent_state import save_training_state
from finetuned.training.progress import RunState
from finetuned.training.trial_losses import HeldOutLosses

REPLAY_SEED = 0
"""Seed of every reservoir: which rows are kept must not depend on the job."""


def save_candidate(
    job: Job,
    start: JobStart,
    replay: Reservoir | None,
    kept: KeptShare | None = None,
    losses: tuple[HeldOutLosses | None, HeldOutLosses | None] = (None, None),
) -> None:
    """
    Write ``candidate/`` in the run folder, whole and durable, manifest last.

    Every process of the run calls it, since a sharded model is gathered; rank 0 writes.

    Args:
        job: The job, trained to its end.
        start: Its plan, and its position at the end.
        replay: The parent's reservoir; the rows that this job trained are added to it.
        kept: How much of its change the job kept; None is all of it.
        losses: Before the first step and now, if the spec asks for them.

    Raises:
        OSError: The file system refused; there is no candidate.
    """
    state = start.state
    gathered = job.loaded.gathered(state.progress())
    if rank() != 0:
        return
    began = time.monotonic()
    reservoir = replay or Reservoir.empty()
    trained = coverage(job.rows, start.plan, job_steps=state.job_step, left_out=state.left_out)
    for dataset, part in zip(job.rows.datasets, trained, strict=True):
        reservoir = reservoir.with_dataset(
            dataset,
            capacity=job.spec.config.training.replay_rows,
            seed=REPLAY_SEED,
            seen=part.seen,
        )
    state.add("seconds_replay", time.monotonic() - began)
    final = job.run_dir / CANDIDATE
    if final.exists():
        return
    building = new_building(job.run_dir)
    try:
        _write_weights(building, job, gathered)
        write_stock_files(building, job.spec.base, job.renderer)
        name_base(building, job.spec.base_name or BaseName(name=job.spec.config.model.base))
        save_training_state(
            building,
            optimizer=gathered.optimizer
            if gathered
            else optimizer_tensors(job.loaded.optimizer, job.loaded.parameters),
            progress=state.progress(),
            mix=job.mix,
            replay=reservoir,
        )
        if job.family is not None:
            write_family_folders(building, job, job.family, reservoir)
        write_manifest(
            building, {"kind": "candidate", **_facts(job, state, trained, kept), **_asked(*losses)}
        )
        publish_dir(building, final)
    except OSError:
        shutil.rmtree(building, ignore_errors=True)
        raise


def new_building(run_dir: Path) -> Path:
    """
    Return an empty folder in which the candidate of a run is built.
    """
    building = run_dir / f".building-{CANDIDATE}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    return building


def _write_weights(building: Path, job: Job, gathered: Snapshot | None) -> None:
    model = job.loaded.model.model
    options: dict[str, Any] = {"state_dict": gathered.weights} if gathered else {}
    if isinstance(model, PeftModel):
        options["save_embedding_layers"] = False  # of the base, which no adapter trains
    with disk_errors():
        model.save_pretrained(building, safe_serialization=True, **options)
    (building / "README.md").unlink(missing_ok=True)  # an empty model card that peft writes


def _facts(
    job: Job, state: RunState, trained: list[Coverage], kept: KeptShare | None
) -> dict[str, Any]:
    """Return what the manifest says of the training: only the worker knows it."""
    spec, rows, early_stop, family = job.spec, job.rows, state.early_stop, job.family
    parent = spec.parent if family is None else family.version
    return {
        "job_id": spec.job_id,
        "run_id": spec.run_id,
        "base": str(spec.config.model.base),
        "base_version": spec.base_version,
        "parent": parent.name if parent else None,
        **({} if family is None else {"family": {"name": family.name, "because": family.because}}),
        "datasets": _dataset_facts(job, trained),
        "n_replayed": len(rows.replay),
        "method": spec.config.training.method,
        "job_steps": state.job_step,
        "planned_steps": state.total_steps,
        "lineage_step": state.lineage_step,
        "plan_digest": state.plan_digest,
        "early_stop": early_stop.evidence(state.plan_digest) if early_stop.patience else None,
        "kept_share": 1.0 if kept is None else kept.share,
        "loss_of_shares": kept and {f"{a:g}": round(x, 6) for a, x in kept.losses.items()},
        "chat_template": job.renderer.template.origin,
        "kernels": str(job.loaded.model.kernels),
        "kernels_close": state.kernels_close,
        "precision": state.precision or None,
        "totals": {k: round(v, 3) for k, v in state.totals.items()},
        "torch": torch.__version__,
        "created_at": utc_now(),
    }


def _asked(before: HeldOutLosses | None, after: HeldOutLosses | None) -> dict[str, Any]:
    """Return the losses that the spec asks for; nothing if it asks for none."""
    if before is None or after is None:
        return {}
    return {HELD_OUT_LOSSES: {"before": asdict(before), "after": asdict(after)}}


def _dataset_facts(job: Job, trained: list[Coverage]) -> list[dict[str, Any]]:
    return [
        {
            "dataset_id": d.dataset_id,
            "sha256": d.sha256,
            "name": d.name,
            "n_examples": part.n_examples,
            "n_supervised_tokens": part.n_supervised_tokens,
            "unseen_lines": part.unseen.as_text(),
            "unseen_because": part.unseen_because,
        }
        for d, part in zip(job.spec.datasets, trained, strict=True)
    ]
