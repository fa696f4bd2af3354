"""
One training run: from its spec to a candidate, in one process or as one of several.

Does not know the inbox, the supervisor or promotion.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from finetuned.core.phase import Phase
from finetuned.data.plan import Plan
from finetuned.data.render import Renderer
from finetuned.errors import DatasetError, Interrupted
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.rank import world
from finetuned.files.spec import TrainingSpec
from finetuned.model.load import pick_device
from finetuned.process.lifeline import Lifeline
from finetuned.training import processes
from finetuned.training.candidate import save_candidate
from finetuned.training.checkpoint import Checkpoint
from finetuned.training.checkpoint_folder import newest_loadable
from finetuned.training.job import Job
from finetuned.training.job_start import begin_job, resume_job
from finetuned.training.job_training import train_job
from finetuned.training.model_keeper import ModelKeeper
from finetuned.training.parent_average import keep_best_share, parent_weights
from finetuned.training.replay_rows import job_rows, told
from finetuned.training.trial_losses import held_out_losses


def job_seed(seed: int, job_id: str) -> int:
    """
    Return the seed of one job, 0 to 2**32 - 1.

    It differs from job to job, so that each has an order of its own, and is the same in
    every run of a job.

    Args:
        seed: training.seed.
        job_id: The job.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{job_id}".encode()).digest()[:4], "big")


def train(run_dir: Path, spec: TrainingSpec, lifeline: Lifeline, keeper: ModelKeeper) -> None:
    """
    Train the job of *spec* to its end and leave a candidate.

    Args:
        run_dir: Folder of the run; everything is written there.
        spec: What to train, on which model.
        lifeline: Says when to stop.
        keeper: Gives the model, and keeps it for the next run.

    Raises:
        Interrupted: A stop was asked for; the state is in the last checkpoint.
        ConfigError: Device, method or launch file cannot be used for training here.
        DatasetError: There is nothing to train on.
        ModelError: Base, parent or checkpoint cannot be used.
        Diverged: Too many steps in a row had no finite loss and gradient.
        OutOfMemory: One row alone does not fit.
        OSError: The file system refused; the last checkpoint is untouched.
    """
    heartbeat, config = Heartbeat(run_dir), spec.config
    heartbeat.beat(force=True, phase=Phase.LOADING, phase_detail="base and parent")
    processes.join(cpu=pick_device(config.model.device).type == "cpu")
    renderer = Renderer.load(
        spec.base,
        max_length=config.data.max_length,
        enable_thinking=config.model.enable_thinking,
    )
    loaded, parent, moments = keeper.get(
        spec.base, spec.parent, config, pad_token_id=renderer.pad_token_id
    )
    heartbeat.beat(optimizer_state=moments.text, chat_template=renderer.template.origin)
    _stop_if_asked(lifeline)
    heartbeat.beat(force=True, phase_detail="the rows of the job")
    seed = job_seed(config.training.seed, spec.job_id)
    rows, drawn = job_rows(spec, seed, parent.replay)
    heartbeat.beat(replay=told(drawn))
    if len(rows.chosen) == 0:
        raise DatasetError("every row is held out: nothing to train on")
    plan = rows.plan(config.training, seed=seed, world=world())
    _stop_if_asked(lifeline)

    job = Job(
        run_dir=run_dir,
        spec=spec,
        seed=seed,
        renderer=renderer,
        rows=rows,
        loaded=loaded,
        heartbeat=heartbeat,
        lifeline=lifeline,
    )
    losses_before = held_out_losses(job)
    before = parent_weights(job)
    checkpoint = _checkpoint(spec, plan, heartbeat, moments.text)
    if checkpoint is not None:
        start = resume_job(job, plan, checkpoint)
    else:
        merged = _is_merged(spec.parent)
        start = begin_job(job, plan, parent, optimizer_reset=moments.reset_reason, merged=merged)
    train_job(job, start)
    kept = None if before is None else keep_best_share(job, before)
    losses = (losses_before, held_out_losses(job))
    heartbeat.beat(force=True, phase=Phase.SAVING_CANDIDATE)
    save_candidate(job, start, parent.replay, kept, losses)
    keeper.now_holds(spec.run_id)
    heartbeat.beat(force=True, phase=Phase.TRAINED)


def _stop_if_asked(lifeline: Lifeline) -> None:
    # Of several processes each may learn of a stop at another moment: they all go on
    # until the first step, after which they agree.
    if lifeline.stopping and world() == 1:
        raise Interrupted(f"stopped before training: {lifeline.cause}")


def _checkpoint(
    spec: TrainingSpec, plan: Plan, heartbeat: Heartbeat, optimizer_state: str
) -> Checkpoint | None:
    """
    Return the checkpoint to resume, None to begin the job at its first step.

    A checkpoint of another plan, made by another release or another number of processes,
    cannot be resumed. The job begins again then and loses only time: no version has
    learnt from it yet.
    """
    checkpoint = newest_loadable(spec.resume_from, plan.digest)
    if checkpoint is None and (other := newest_loadable(spec.resume_from)) is not None:
        heartbeat.beat(
            optimizer_state=f"{optimizer_state}; {other.path.name} is of another plan: "
            "the job starts again"
        )
    return checkpoint


def _is_merged(parent: Path | None) -> bool:
    return parent is not None and read_model_manifest(parent).is_merged
