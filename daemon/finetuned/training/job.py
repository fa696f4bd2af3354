"""
One job on a loaded model: where it begins, its training, what it leaves.

Does not know how the model was loaded, nor commands or promotion.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetuned.config import Config
from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import Mix, WarmUp, next_warm_up
from finetuned.core.phase import Phase
from finetuned.data.plan import Plan
from finetuned.data.render import Renderer
from finetuned.data.replay import Reservoir
from finetuned.data.suite import questions_of
from finetuned.errors import Interrupted, ModelError
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.rank import rank, world
from finetuned.files.run import utc_now
from finetuned.files.spec import TrainingSpec
from finetuned.loss.candidates import has_fast_bfloat16
from finetuned.loss.kernels import Choice
from finetuned.loss.supervised import SHARING
from finetuned.process.lifeline import Lifeline
from finetuned.training import processes, sharded
from finetuned.training.callbacks import RunCallback, RunState
from finetuned.training.candidate import ParentState, candidate_facts, save_candidate
from finetuned.training.checkpoint import Checkpoint, Progress, restore_optimizer, restore_rng
from finetuned.training.drift import open_drift
from finetuned.training.heldout import HeldOutLoss
from finetuned.training.kernel_choice import choose_afresh, precision_is_open, recall
from finetuned.training.live_eval import LiveEval
from finetuned.training.memory import TokenBudget, budget_left, rehearse
from finetuned.training.model_keeper import LoadedModel
from finetuned.training.rows import JobRows
from finetuned.training.trainer import StreamTrainer, make_schedule

REPLAY_SEED = 0
"""The same for the life of every reservoir: what is kept must not depend on the job."""

_PROBE_TOKENS = 4096
"""Of a typical micro-batch, at most, on which candidates are timed."""


class Job:
    """
    The training of one plan.
    """

    def __init__(
        self,
        run_dir: Path,
        spec: TrainingSpec,
        *,
        config: Config,
        seed: int,
        renderer: Renderer,
        rows: JobRows,
        plan: Plan,
        loaded: LoadedModel,
        heartbeat: Heartbeat,
        lifeline: Lifeline,
    ) -> None:
        self._run_dir = run_dir
        self._spec = spec
        self._config = config
        self._seed = seed
        self._renderer = renderer
        self._rows = rows
        self._plan = plan
        self._loaded = loaded
        self._heartbeat = heartbeat
        self._lifeline = lifeline
        self._checkpoint: Checkpoint | None = None
        self._trainer: StreamTrainer | None = None
        self._state: RunState | None = None

    @property
    def state(self) -> RunState:
        """Where the job is; there once it was begun or resumed."""
        if self._state is None:
            raise RuntimeError("neither begun nor resumed")
        return self._state

    def begin(
        self, parent: ParentState, optimizer_state: str, rolled_back: bool, merged: bool
    ) -> None:
        """
        Start at the first step, on the parent's weights and moments.

        Args:
            parent: What the parent version carries; empty for a first job.
            optimizer_state: Where the moments came from, as ModelKeeper.get says.
            rolled_back: Whether a later version than the parent was current before.
            merged: Whether the parent's weights are merged from others.
        """
        training = self._config.training
        reset = optimizer_state.removeprefix("reset: ")
        known = parent.warm_up
        if known is None and parent.lineage_step:  # a version from before this was kept
            known = WarmUp(0, training.warmup_steps)
        warm_up, reason = next_warm_up(
            known,
            lineage_step=parent.lineage_step,
            warmup_steps=training.warmup_steps,
            optimizer_reset=reset if reset != optimizer_state else None,
            rolled_back=rolled_back,
            merged=merged,
            parent_mix=parent.mix,
            mix=self._mix(),
        )
        if reason is not None:
            self._heartbeat.beat(warm_up=f"from step {warm_up.began}: {reason}")
        start = Progress(0, parent.lineage_step, self._plan.digest, {})
        self._state = self._state_at(
            start, warm_up, EarlyStop(training.patience, training.min_delta)
        )
        model = self._loaded.model
        open_precision = precision_is_open(self._loaded.parameters.values(), self._config.model)
        repeats = open_precision and has_fast_bfloat16(model.device)
        self._use(
            self._loaded.choice
            or recall(model, training, parent.kernels, parent.precision if repeats else "")
            or self._choose(may_autocast=open_precision)
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """
        Go on where *checkpoint* was made.

        Raises:
            ModelError: It holds other parameters than the model has.
        """
        progress, parameters = checkpoint.progress, self._loaded.parameters
        if parameters.keys() != checkpoint.weights.keys():
            raise ModelError("the checkpoint holds other parameters than the model has")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(checkpoint.weights[name])
        self._checkpoint = checkpoint
        training = self._config.training
        early_stop = EarlyStop(training.patience, training.min_delta)
        if progress.early_stop is not None:
            early_stop = EarlyStop.from_dict(progress.early_stop)
        self._state = self._state_at(
            progress, WarmUp(progress.warm_up_began, progress.warm_up_steps), early_stop
        )
        known = recall(self._loaded.model, training, progress.kernels, progress.precision)
        self._use(known or self._choose(may_autocast=False))

    def _choose(self, *, may_autocast: bool) -> Choice:
        training, plan = self._config.training, self._plan
        numbers = plan.micro_batches(len(plan) // 2, min(_PROBE_TOKENS, training.max_batch_tokens))
        return choose_afresh(
            self._loaded.model,
            training,
            typical=[self._rows[n] for n in numbers[0]],
            may_autocast=may_autocast,
            on_progress=self._heartbeat.beat,
        )

    def _state_at(self, start: Progress, warm_up: WarmUp, early_stop: EarlyStop) -> RunState:
        state = RunState(
            start=start,
            total_steps=len(self._plan),
            plan_digest=self._plan.digest,
            warm_up=warm_up,
            early_stop=early_stop,
        )
        state.job_step = start.job_step
        state.totals = dict(start.totals)
        return state

    def _mix(self) -> Mix:
        training = self._config.training
        rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
        return Mix(training.replay_fraction, rows * world())

    def _use(self, choice: Choice) -> None:
        model, state = self._loaded.model, self.state
        model.kernels, model.autocast = choice.kernels, choice.autocast
        self._loaded.choice = choice
        state.kernels, state.precision = str(choice.kernels), choice.precision
        if choice.kernels.prefix not in SHARING:
            self._plan = self._plan.unshared()
        self._heartbeat.beat(
            kernels=str(choice.kernels),
            precision=choice.precision or str(next(model.parameters()).dtype)[len("torch.") :],
            kernels_timed=choice.timings,
            kernels_refused=choice.refused,
        )

    # -- training ---------------------------------------------------------------------

    def train(self) -> None:
        """
        Train what is left of the plan.

        Raises:
            Interrupted: A stop was asked for; the state is in a checkpoint.
            Diverged, OutOfMemory, OSError: As StreamTrainer and RunCallback.
            ModelError: Not a single step was made.
        """
        state = self.state
        if state.job_step < state.total_steps and not state.early_stop.should_stop:
            self._train()
        else:
            self._set_state()
        if state.job_step == 0:
            raise ModelError("0 optimizer steps were made: this run changed nothing")

    def _set_state(self) -> None:
        """Set random state, and on resume the optimizer, right before the first step."""
        if self._checkpoint is not None:
            restore_optimizer(
                self._loaded.optimizer, self._loaded.parameters, self._checkpoint.optimizer
            )
            restore_rng(self._checkpoint.rng)
            self._heartbeat.beat(optimizer_state=f"resumed from {self._checkpoint.path.name}")
            return
        random.seed(self._seed)
        np.random.seed(self._seed)
        torch.manual_seed(self._seed)

    def _train(self) -> None:
        state, training = self.state, self._config.training
        budget = TokenBudget(
            budget_left(
                training.max_batch_tokens,
                [f.parent for f in self._spec.resume_from],
            ),
            on_change=lambda tokens: self._heartbeat.beat(force=True, max_batch_tokens=tokens),
        )
        self._loaded.spread(training)
        callback = self._callback(budget)
        self._heartbeat.beat(force=True, phase=Phase.REHEARSING, max_batch_tokens=budget.tokens)
        rehearse(self._loaded.model, self._rows, self._plan, budget)
        self._trainer = StreamTrainer(
            self._loaded.model,
            rows=self._rows,
            plan=self._plan,
            start=state.start.job_step,
            budget=budget,
            optimizer=self._loaded.optimizer,
            schedule=make_schedule(
                self._loaded.optimizer,
                training,
                warm_up=state.warm_up,
                lineage_step=state.start.lineage_step,
                job_step=state.start.job_step,
                total_steps=state.total_steps,
            ),
            config=training,
            scratch=self._run_dir / "trainer",
            callbacks=[callback],
            before_first_step=self._before_first_step(callback),
        )
        self._heartbeat.beat(force=True, phase=Phase.TRAINING, ready_at=utc_now())
        try:
            self._trainer.train()
        finally:
            # Not Trainer's to keep: a live worker goes on with the next job.
            self._trainer.callback_handler.callbacks.clear()
        callback.finish()
        if state.job_step < state.total_steps and not state.early_stop.should_stop:
            raise Interrupted(
                f"stopped at step {state.job_step} of {state.total_steps}: {self._lifeline.cause}"
            )

    def _before_first_step(self, callback: RunCallback) -> Any:
        def begin() -> None:
            self._set_state()
            if self._checkpoint is None:
                # A disk that cannot hold a checkpoint shows now and not after an hour.
                callback.save_first()

        return begin

    def _callback(self, budget: TokenBudget) -> RunCallback:
        rows, state = self._rows, self.state
        questions = [q for dataset in rows.datasets for q in questions_of(dataset)]
        live_eval = None
        if self._spec.live_evals and not sharded.asked():
            live_eval = LiveEval(
                questions,
                self._renderer,
                self._config.evaluation,
                on_progress=self._heartbeat.beat,
                stopping=lambda: self._lifeline.stopping,
                drift=open_drift(
                    self._loaded.model.model,
                    questions,
                    self._renderer,
                    limit=self._config.evaluation.kl_prompts,
                    run_dir=self._run_dir,
                    spec=self._spec,
                    resumed=self._checkpoint is not None,
                ),
            )
        held_out = None
        if self._config.training.patience and questions:
            held_out = HeldOutLoss(
                self._loaded.model, questions, self._renderer, max_tokens=lambda: budget.tokens
            )
        return RunCallback(
            self._run_dir,
            state,
            config=self._config.training,
            eval_steps=self._config.evaluation.eval_steps,
            parameters=self._loaded.parameters,
            optimizer=self._loaded.optimizer,
            heartbeat=self._heartbeat,
            lifeline=self._lifeline,
            model=self._loaded.model.model,
            live_eval=live_eval,
            held_out=held_out,
            should_stop=lambda: processes.any_of(self._lifeline.stopping),
            describe_step=self._describe_step,
            read_step=self._read_step,
        )

    def _read_step(self) -> dict[str, Any]:
        trainer = self._trainer
        if trainer is None:
            raise RuntimeError("no step was made")
        return {
            "loss": trainer.last_loss,
            "grad_norm": trainer.last_grad_norm,
            "skipped": trainer.skipped,
            "supervised_tokens": trainer.supervised_tokens,
            "computed_tokens": trainer.computed_tokens,
        }

    def _describe_step(self, job_step: int) -> dict[str, Any]:
        rows = self._rows
        numbers = self._plan.numbers(job_step - 1)
        new = [n for n in numbers if n < rows.n_new]
        return {
            "examples": [rows.example_id(n) for n in new],
            "replayed": [rows.example_id(n) for n in numbers if n >= rows.n_new],
            "current_file": rows.name_of(numbers[0]),
            "tokens": int(rows.lengths[numbers].sum()),
            "epoch": (job_step - 1) * self._config.training.num_train_epochs // len(self._plan),
        }

    # -- what it leaves -----------------------------------------------------------------

    def save_candidate(self, base: Path, parent: Path | None, replay: Reservoir | None) -> None:
        """
        Write the candidate, the reservoir with this job's rows too. Every process calls it.

        Args:
            base: Directory of the base model.
            parent: Folder of the version it went on from.
            replay: The parent's reservoir.

        Raises:
            OSError: The disk refused; there is no candidate.
        """
        loaded, gathered = self._loaded, self._loaded.gathered(self.state.progress())
        if rank() != 0:
            return
        training, began = self._config.training, time.monotonic()
        reservoir = replay or Reservoir.empty()
        for dataset in self._rows.datasets:
            reservoir = reservoir.with_dataset(
                dataset, capacity=training.replay_rows, seed=REPLAY_SEED
            )
        self.state.add("seconds_replay", time.monotonic() - began)
        save_candidate(
            self._run_dir,
            model=loaded.model.model,
            base=base,
            parameters=loaded.parameters,
            optimizer=loaded.optimizer,
            progress=self.state.progress(),
            mix=self._mix(),
            replay=reservoir,
            gathered=gathered,
            facts=candidate_facts(
                self._spec,
                self._config,
                rows=self._rows,
                state=self.state,
                kernels=str(loaded.model.kernels),
                parent=parent,
            ),
        )
