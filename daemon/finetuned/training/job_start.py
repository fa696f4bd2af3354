"""
How a run takes a job up: from the version before it, or from a checkpoint of an earlier run.

Decides warm-up, kernels and precision. Random state and, after a checkpoint, the optimizer
are put in place by ``set_random_state_and_moments``, right before the first step.
"""

from __future__ import annotations

import torch

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp, next_warm_up
from finetuned.data.plan import Plan
from finetuned.errors import Interrupted, ModelError
from finetuned.files.rank import world
from finetuned.loss.candidates import has_fast_bfloat16
from finetuned.loss.kernels import Choice
from finetuned.loss.supervised import SHARING
from finetuned.training.checkpoint import Checkpoint
from finetuned.training.job import Job, JobStart
from finetuned.training.kernel_choice import choose_afresh, precision_is_open, recall
from finetuned.training.optimizer import restore_optimizer
from finetuned.training.parent_state import ParentState
from finetuned.training.progress import Progress, RunState
from finetuned.training.random_state import restore_rng, seed_generators

_TIMED_TOKENS = 2048
"""Most tokens of the typical micro-batch on which kernels are timed."""


def begin_job(
    job: Job,
    plan: Plan,
    parent: ParentState,
    *,
    optimizer_reset: str | None,
    merged: bool,
) -> JobStart:
    """
    Take a job up at its first step, on the parent's weights and moments.

    Args:
        job: The job.
        plan: Its plan.
        parent: Training state of the parent version; empty for a first job.
        optimizer_reset: Why the optimizer starts without the parent's moments; None if it
            has them, or there is no parent.
        merged: Whether the parent's weights are merged from those of other versions.
    """
    training, loaded = job.spec.config.training, job.loaded
    known = parent.warm_up
    if known is None and parent.lineage_step:  # the parent's state does not name its warm-up
        known = WarmUp(0, training.warmup_steps)
    warm_up, reason = next_warm_up(
        known,
        lineage_step=parent.lineage_step,
        warmup_steps=training.warmup_steps,
        optimizer_reset=optimizer_reset,
        rolled_back=job.spec.rolled_back,
        merged=merged,
        parent_mix=parent.mix,
        mix=job.mix,
    )
    if reason is not None:
        job.heartbeat.beat(warm_up=f"from step {warm_up.began}: {reason}")
    open_precision = precision_is_open(loaded.parameters.values(), job.spec.config.model)
    # A lineage keeps its precision only on a device that is as fast with it.
    repeats = open_precision and has_fast_bfloat16(loaded.model.device)
    choice = loaded.choice
    if choice is None:
        precision = parent.precision if repeats else ""
        choice = recall(loaded.model, training, parent.kernels, precision)
        if choice is not None:
            choice.is_close = parent.kernels_close
    if choice is None or choice.is_close:
        choice = _choose(job, plan, may_autocast=open_precision, known=choice)
    start = Progress(0, parent.lineage_step, plan.digest, {})
    state = _state(plan, start, warm_up, EarlyStop(training.patience, training.min_delta))
    return JobStart(state, _use(job, state, plan, choice))


def resume_job(job: Job, plan: Plan, checkpoint: Checkpoint) -> JobStart:
    """
    Take a job up at *checkpoint*, with its weights and kernels.

    Args:
        job: The job.
        plan: Its plan, of the checkpoint's digest.
        checkpoint: Of an earlier run of the job.

    Raises:
        ModelError: The checkpoint holds other parameters than the model has.
    """
    training, loaded = job.spec.config.training, job.loaded
    progress, weights = checkpoint.progress, checkpoint.snapshot.weights
    if loaded.parameters.keys() != weights.keys():
        raise ModelError(f"{checkpoint.path} holds other parameters than the model has")
    with torch.no_grad():
        for name, parameter in loaded.parameters.items():
            parameter.copy_(weights[name])
    early_stop = EarlyStop(training.patience, training.min_delta)
    if progress.early_stop is not None:
        early_stop = EarlyStop.from_dict(progress.early_stop)
    choice = recall(loaded.model, training, progress.kernels, progress.precision)
    if choice is None:
        choice = _choose(job, plan, may_autocast=False, known=None)
    else:
        choice.is_close = progress.kernels_close
    warm_up = WarmUp(progress.warm_up_began, progress.warm_up_steps)
    state = _state(plan, progress, warm_up, early_stop)
    return JobStart(state, _use(job, state, plan, choice), checkpoint)


def set_random_state_and_moments(job: Job, start: JobStart) -> None:
    """
    Seed the generators; after a checkpoint, restore them and the optimizer instead.

    Call it right before the first step: whatever draws a random number or touches the
    optimizer between here and there would change the run.

    Raises:
        ModelError: As restore_optimizer.
    """
    checkpoint = start.checkpoint
    if checkpoint is None:
        seed_generators(job.seed)
        return
    saved = checkpoint.snapshot
    restore_optimizer(job.loaded.optimizer, job.loaded.parameters, saved.optimizer)
    restore_rng(saved.rng)
    job.heartbeat.beat(optimizer_state=f"resumed from {checkpoint.path.name}")


def _state(plan: Plan, start: Progress, warm_up: WarmUp, early_stop: EarlyStop) -> RunState:
    return RunState(
        start=start,
        total_steps=len(plan),
        plan_digest=plan.digest,
        warm_up=warm_up,
        early_stop=early_stop,
        tokens_before=plan.tokens_before(),
    )


def _choose(job: Job, plan: Plan, *, may_autocast: bool, known: Choice | None) -> Choice:
    """Check and time kernels on a micro-batch from the middle of the plan."""
    training = job.spec.config.training
    max_tokens = min(_TIMED_TOKENS, training.max_batch_tokens)
    typical = plan.micro_batches(len(plan) // 2, max_tokens)[0]

    def on_progress() -> None:
        job.heartbeat.beat()
        if job.lifeline.stopping and world() == 1:
            raise Interrupted(f"stopped while kernels were timed: {job.lifeline.cause}")

    job.heartbeat.beat(force=True, phase_detail="timing the ways to compute the loss")
    return choose_afresh(
        job.loaded.model,
        training,
        typical=[job.rows[n] for n in typical],
        may_autocast=may_autocast,
        on_progress=on_progress,
        job_rows=len(plan.order),
        known=known,
    )


def _use(job: Job, state: RunState, plan: Plan, choice: Choice) -> Plan:
    """Set the model to *choice*, show and keep it, and return the plan as it is computed then."""
    model = job.loaded.model
    model.kernels, model.autocast = choice.kernels, choice.autocast
    job.loaded.choice = choice
    state.kernels, state.precision = str(choice.kernels), choice.precision
    state.kernels_close = choice.is_close
    job.heartbeat.beat(
        kernels=str(choice.kernels),
        precision=choice.precision or str(next(model.parameters()).dtype)[len("torch.") :],
        kernels_reason=choice.evidence,
        kernels_timed=choice.timings,
        kernels_refused=choice.refused,
    )
    return plan if choice.kernels.prefix in SHARING else plan.unshared()
