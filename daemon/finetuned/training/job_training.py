"""
The training of one job: the parts of a run put together, and the Trainer's loop over them.

This is the place to read what happens in a run and in which order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from finetuned.core.phase import Phase
from finetuned.data.suite import Question, questions_of
from finetuned.errors import Interrupted, ModelError
from finetuned.files.rank import rank
from finetuned.files.run import CHECKPOINTS, utc_now
from finetuned.training import processes, sharded
from finetuned.training.checkpoint import Snapshot, snapshot_state
from finetuned.training.checkpoint_folder import commit_checkpoint
from finetuned.training.checkpoint_saver import CheckpointSaver
from finetuned.training.drift import open_drift
from finetuned.training.early_stopping import EarlyStopping
from finetuned.training.eval_recorder import EvalRecorder
from finetuned.training.held_out import HeldOutLoss
from finetuned.training.job import Job, JobStart
from finetuned.training.job_start import set_random_state_and_moments
from finetuned.training.live_eval import LiveEval
from finetuned.training.optimizer import make_schedule
from finetuned.training.progress import RunState
from finetuned.training.rehearsal import rehearse
from finetuned.training.rows import StepRows
from finetuned.training.run_callback import RunCallback
from finetuned.training.step_recorder import StepRecorder
from finetuned.training.token_budget import TokenBudget, first_budget
from finetuned.training.trainer import StreamTrainer

Saver = CheckpointSaver[Snapshot]


def train_job(job: Job, start: JobStart) -> None:
    """
    Train what is left of the plan; ``start.state`` tells afterwards how far it came.

    Raises:
        Interrupted: A stop was asked for; the state is in a checkpoint.
        Diverged, OutOfMemory: As StreamTrainer.
        OSError: As CheckpointSaver.
        ModelError: Not a single step was made, or as CheckpointSaver.
    """
    if start.state.is_done:
        set_random_state_and_moments(job, start)
    else:
        _train(job, start)
    if start.state.job_step == 0:
        raise ModelError("0 optimizer steps were made: this run changed nothing")


def _train(job: Job, start: JobStart) -> None:
    state, loaded, heartbeat = start.state, job.loaded, job.heartbeat
    training = job.spec.config.training
    budget = TokenBudget(
        first_budget(training.max_batch_tokens, [folder.parent for folder in job.spec.resume_from]),
        on_change=lambda tokens: heartbeat.beat(force=True, max_batch_tokens=tokens),
    )
    loaded.spread(training)
    questions = [q for dataset in job.rows.datasets for q in questions_of(dataset)]
    early_stopping = _early_stopping(job, state, budget, questions)
    saver = _saver(job, state)
    evals = _evals(job, start, questions)  # takes the weights as they are as the start of the job
    heartbeat.beat(force=True, phase=Phase.REHEARSING, max_batch_tokens=budget.tokens)
    rehearse(
        loaded.model,
        job.rows,
        start.plan,
        budget,
        on_try=lambda tried: heartbeat.beat(force=True, phase_detail=tried),
    )

    def before_first_step() -> None:
        set_random_state_and_moments(job, start)
        if saver is not None and start.checkpoint is None:
            saver.save_first()

    trainer = _trainer(job, start, budget, before_first_step)
    recorder = StepRecorder(job.run_dir, state, heartbeat)

    def record_step(seconds: float) -> None:
        recorder.record(
            trainer.last_step,
            _step_rows(job, start, state.job_step),
            learning_rate=loaded.optimizer.param_groups[0]["lr"],
            seconds=seconds,
        )

    trainer.add_callback(
        RunCallback(
            state,
            record_step=record_step,
            parts=[part for part in (early_stopping, saver, evals) if part is not None],
            should_stop=lambda: processes.any_of(job.lifeline.stopping),
        )
    )
    heartbeat.beat(force=True, phase=Phase.TRAINING, ready_at=utc_now())
    try:
        trainer.train()
    finally:
        # The model outlives the Trainer in a live worker: let the parts of this run go.
        trainer.callback_handler.callbacks.clear()
    if saver is not None:
        saver.finish()
    if not state.is_done:
        raise Interrupted(
            f"stopped at step {state.job_step} of {state.total_steps}: {job.lifeline.cause}"
        )


def _step_rows(job: Job, start: JobStart, job_step: int) -> StepRows:
    return job.rows.of_step(start.plan, job_step, epochs=job.spec.config.training.num_train_epochs)


def _trainer(
    job: Job, start: JobStart, budget: TokenBudget, before_first_step: Callable[[], None]
) -> StreamTrainer:
    state, loaded, training = start.state, job.loaded, job.spec.config.training
    return StreamTrainer(
        loaded.model,
        rows=job.rows,
        plan=start.plan,
        start=state.start.job_step,
        budget=budget,
        optimizer=loaded.optimizer,
        schedule=make_schedule(
            loaded.optimizer,
            training,
            warm_up=state.warm_up,
            lineage_step=state.start.lineage_step,
            job_step=state.start.job_step,
            total_steps=state.total_steps,
        ),
        config=training,
        scratch=job.run_dir / "trainer",
        before_first_step=before_first_step,
    )


def _saver(job: Job, state: RunState) -> Saver | None:
    """Return what saves checkpoints, None if this process takes no part in that."""
    training, writes = job.spec.config.training, rank() == 0
    if not writes and not sharded.asked():
        return None
    folder, keep = job.run_dir / CHECKPOINTS, training.keep_checkpoints
    return CheckpointSaver(
        state,
        job.heartbeat,
        save_steps=training.save_steps,
        take_copy=lambda: snapshot_state(
            job.loaded.parameters, job.loaded.optimizer, state.progress()
        ),
        write=partial(commit_checkpoint, folder, keep=keep) if writes else None,
        in_step=sharded.asked(),
    )


def _early_stopping(
    job: Job, state: RunState, budget: TokenBudget, questions: list[Question]
) -> EarlyStopping | None:
    """Return what looks at the held-out loss, None if it is switched off or nothing is held out."""
    if not job.spec.config.training.patience or not questions:
        return None
    held_out = HeldOutLoss(
        job.loaded.model, questions, job.renderer, max_tokens=lambda: budget.tokens
    )
    return EarlyStopping(
        job.run_dir,
        state,
        job.heartbeat,
        eval_steps=job.spec.config.evaluation.eval_steps,
        held_out_loss=held_out.loss,
    )


def _evals(job: Job, start: JobStart, questions: list[Question]) -> EvalRecorder | None:
    """Return what makes live evals, None if they are switched off or not this process's."""
    evaluation, model = job.spec.config.evaluation, job.loaded.model.model
    if rank() != 0 or sharded.asked() or not job.spec.live_evals:
        return None
    live_eval = LiveEval(
        model,
        questions,
        job.renderer,
        evaluation,
        on_progress=job.heartbeat.beat,
        stopping=lambda: job.lifeline.stopping,
        drift=open_drift(
            model,
            questions,
            job.renderer,
            run_dir=job.run_dir,
            spec=job.spec,
            resumed=start.checkpoint is not None,
        ),
    )
    return EvalRecorder(
        job.run_dir,
        start.state,
        job.heartbeat,
        live_eval=live_eval,
        eval_steps=evaluation.eval_steps,
        describe_step=partial(_step_rows, job, start),
    )
