"""
What happens between two optimizer steps: measure, tell, save, look, obey.

Does not train and does not know the supervisor: everything leaves through the
run folder.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetuned.config import TrainingConfig
from finetuned.core.answer import count_think_tags
from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp
from finetuned.core.phase import Phase
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.rank import rank
from finetuned.files.run import CHECKPOINTS, EVALS, append_metrics, utc_now
from finetuned.process.lifeline import Lifeline
from finetuned.training import sharded
from finetuned.training.background import BackgroundSaver
from finetuned.training.checkpoint import (
    Parameters,
    Progress,
    Snapshot,
    snapshot_state,
    write_checkpoint,
)
from finetuned.training.checkpoint_folder import list_checkpoints, prune_checkpoints
from finetuned.training.heldout import HeldOutLoss
from finetuned.training.live_eval import LiveEval, alerts, shown

RECENT_EXAMPLES = 5
EVAL_SAMPLES = 50
HISTORY = 200


@dataclass
class RunState:
    """
    Where the run is, for the heartbeat and the checkpoint.
    """

    start: Progress
    """Where the job was when this process took it up."""
    total_steps: int
    plan_digest: str
    warm_up: WarmUp
    early_stop: EarlyStop
    precision: str = ""
    kernels: str = ""
    job_step: int = 0
    training_began: float = 0.0
    seconds_checkpoint: float = 0.0
    seconds_per_step: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    tokens: deque[int] = field(default_factory=lambda: deque(maxlen=50))
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    recent: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=dict)

    @property
    def lineage_step(self) -> int:
        """Optimizer steps of the whole lineage."""
        return self.start.lineage_step + self.job_step - self.start.job_step

    def add(self, name: str, amount: float) -> None:
        """
        Add to a running sum of the job.
        """
        self.totals[name] = self.totals.get(name, 0.0) + amount

    def progress(self) -> Progress:
        """
        Return what a checkpoint has to say.
        """
        return Progress(
            self.job_step,
            self.lineage_step,
            self.plan_digest,
            dict(self.totals),
            warm_up_began=self.warm_up.began,
            warm_up_steps=self.warm_up.steps,
            precision=self.precision,
            kernels=self.kernels,
            early_stop=self.early_stop.as_dict() if self.early_stop.patience else None,
        )


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """
    Ties one Trainer to its run folder.
    """

    def __init__(
        self,
        run_dir: Path,
        state: RunState,
        *,
        config: TrainingConfig,
        eval_steps: int,
        parameters: Parameters,
        optimizer: torch.optim.Optimizer,
        heartbeat: Heartbeat,
        lifeline: Lifeline,
        model: Any,
        live_eval: LiveEval | None,
        held_out: HeldOutLoss | None,
        should_stop: Callable[[], bool],
        describe_step: Callable[[int], dict[str, Any]],
        read_step: Callable[[], dict[str, Any]],
    ) -> None:
        """
        Args:
            run_dir: Where everything goes.
            state: Shared with the worker.
            config: save_steps and keep_checkpoints.
            eval_steps: Steps between two live evals.
            parameters: What is trained, by name.
            optimizer: Saved with them.
            heartbeat: Where progress is shown.
            lifeline: Says why, when a stop was asked for.
            model: The language model that live evals ask.
            live_eval: None switches live evals off.
            held_out: The loss that early stopping looks at; None where it is off.
            should_stop: Whether a stop was asked for: the same answer in every process.
            describe_step: Job step -> ``examples``, ``current_file``, ``epoch``, ``tokens``.
            read_step: The trainer's loss, grad_norm, skipped, supervised_tokens and
                computed_tokens of the last step.
        """
        self._run_dir = run_dir
        self._state = state
        self._config = config
        self._eval_steps = eval_steps
        self._parameters = parameters
        self._optimizer = optimizer
        self._heartbeat = heartbeat
        self._lifeline = lifeline
        self._model = model
        self._live_eval = live_eval
        self._held_out = held_out
        self._should_stop = should_stop
        self._saver: BackgroundSaver[Snapshot, tuple[Path, float]] = BackgroundSaver()
        self._save_due = False
        self._writes = rank() == 0
        self._gives = self._writes or sharded.asked()
        self._eval_due = False
        self._describe_step = describe_step
        self._read_step = read_step
        self._step_began = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """
        Start the clock of the step.
        """
        self._step_began = time.monotonic()
        if not self._state.training_began:
            self._state.training_began = self._step_began

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """
        Record the step, then save, look and obey where it is time for it.
        """
        run = self._state
        took = time.monotonic() - self._step_began
        run.job_step = run.start.job_step + state.global_step
        stopping = self._should_stop()
        self._record(took)
        looking = run.job_step % self._eval_steps == 0
        if self._held_out is not None and looking:
            self._look_at_held_out(self._held_out)
        if self._gives:
            last = run.job_step == run.total_steps or run.early_stop.should_stop
            self._save_due = self._save_due or run.job_step % self._config.save_steps == 0
            if stopping or last:
                self.save()
            else:
                self._save_meanwhile()
        if self._writes:
            self._eval_due = self._eval_due or looking or run.job_step == 1
            if self._live_eval is not None and self._eval_due and not stopping:
                rows = self._live_eval.rows_affordable(time.monotonic() - run.training_began)
                if rows:
                    self._eval_due = False
                    self._look(self._live_eval, self._model, rows)
        if stopping or run.early_stop.should_stop:
            control.should_training_stop = True

    def save(self) -> None:
        """
        Write a checkpoint now and wait until it is there.

        Raises:
            OSError: The disk refused; the checkpoints before are untouched.
        """
        began = time.monotonic()
        self._heartbeat.beat(force=True, phase=Phase.CHECKPOINTING)
        while self._saver.busy:
            self._saved(self._saver.wait(1.0), stalled=0.0)
            self._heartbeat.beat()
        self._saved(self._saver.wait(), stalled=0.0)
        snapshot = snapshot_state(self._parameters, self._optimizer, self._state.progress())
        self._saved([self._write(snapshot)], stalled=time.monotonic() - began)
        self._save_due = False
        self._heartbeat.beat(force=True, phase=Phase.TRAINING)

    def save_first(self) -> None:
        """
        Begin to write the checkpoint of step 0.
        """
        if self._gives:
            self._save_due = True
            self._save_meanwhile()

    def _save_meanwhile(self) -> None:
        """Take in what the writer finished; begin the next when one is due and it is free."""
        if self._save_due and sharded.asked():  # other processes do not know whether it is free
            self.finish()
        self._saved(self._saver.poll(), stalled=0.0)
        if not self._save_due or self._saver.busy:
            return
        began = time.monotonic()
        snapshot = snapshot_state(self._parameters, self._optimizer, self._state.progress())
        if self._saver.submit(snapshot, self._write):
            self._save_due = False
            stalled = time.monotonic() - began
            self._state.add("seconds_checkpoint", stalled)
            self._heartbeat.beat(checkpoint_stall_seconds=round(stalled, 4))

    def _write(self, snapshot: Snapshot) -> tuple[Path, float]:
        """Write, load what was written, let the oldest go; on the writer's thread or ours."""
        began = time.monotonic()
        folder = self._run_dir / CHECKPOINTS
        if not self._writes:
            return folder, 0.0
        known = list_checkpoints(folder)
        path = write_checkpoint(folder, snapshot)
        if path not in known:
            prune_checkpoints(folder, self._config.keep_checkpoints)
        return path, time.monotonic() - began

    def _saved(self, finished: list[tuple[Path, float]], *, stalled: float) -> None:
        for path, took in finished if self._writes else ():
            if stalled:
                self._state.add("seconds_checkpoint", stalled)
                self._heartbeat.beat(checkpoint_stall_seconds=round(stalled, 4))
            self._heartbeat.beat(
                checkpoint_step=int(path.name.rpartition("-")[2]),
                checkpoint_bytes=sum(f.stat().st_size for f in path.iterdir()),
                checkpoint_seconds=round(took, 3),
            )

    def finish(self) -> None:
        """
        Wait for the checkpoint that is being written.

        Raises:
            OSError: As save.
        """
        self._saved(self._saver.wait(), stalled=0.0)

    def _look_at_held_out(self, held_out: HeldOutLoss) -> None:
        run = self._state
        began = time.monotonic()
        loss = held_out.loss()
        run.early_stop = run.early_stop.seen(run.job_step, loss)
        run.add("seconds_eval", time.monotonic() - began)
        self._heartbeat.beat(validation_loss=round(loss, 6), best_loss=run.early_stop.best)

    def _record(self, took: float) -> None:
        run = self._state
        step = self._read_step()
        about = self._describe_step(run.job_step)
        rate = self._optimizer.param_groups[0]["lr"]
        run.seconds_per_step.append(took)
        run.tokens.append(int(about["tokens"]))
        run.losses = [*run.losses, step["loss"]][-HISTORY:]
        run.add("seconds_steps", took)
        run.add("tokens", about["tokens"])
        run.add("computed_tokens", step["computed_tokens"])
        run.add("steps_skipped", float(step["skipped"]))
        run.add("supervised_tokens", step["supervised_tokens"])
        append_metrics(
            self._run_dir,
            {
                "step": run.job_step,
                "lineage_step": run.lineage_step,
                "loss": step["loss"],
                "grad_norm": step["grad_norm"],
                "learning_rate": rate,
                "skipped": step["skipped"],
                "supervised_tokens": step["supervised_tokens"],
                "tokens": about["tokens"],
                "computed_tokens": step["computed_tokens"],
                "seconds": round(took, 4),
                "examples": about["examples"],
                "replayed": about["replayed"],
                "at": utc_now(),
            },
        )
        mean_step = sum(run.seconds_per_step) / len(run.seconds_per_step)
        elapsed = time.monotonic() - run.training_began
        done = run.job_step - run.start.job_step
        self._heartbeat.beat(
            phase=Phase.TRAINING,
            current_step=run.lineage_step,
            total_steps=run.lineage_step + run.total_steps - run.job_step,
            batch_step=run.job_step,
            batch_total_steps=run.total_steps,
            epoch=about["epoch"],
            current_file=about["current_file"],
            loss=step["loss"],
            grad_norm=step["grad_norm"],
            learning_rate=rate,
            steps_skipped=int(run.totals["steps_skipped"]),
            train_loss_history=[round(x, 6) for x in run.losses],
            tokens_per_second=round(sum(run.tokens) / sum(run.seconds_per_step), 1),
            tokens_per_second_avg=round(run.totals["tokens"] / run.totals["seconds_steps"], 1),
            seconds_per_step=round(mean_step, 4),
            eta_seconds=round(elapsed / done * (run.total_steps - run.job_step), 1),
        )

    def _look(self, live_eval: LiveEval, model: Any, rows: int) -> None:
        run = self._state
        before = live_eval.seconds
        self._heartbeat.beat(force=True, phase=Phase.EVALUATING)
        outcomes = live_eval.look(model, rows)
        kl = live_eval.drift_now(model, time.monotonic() - run.training_began)
        run.add("seconds_eval", live_eval.seconds - before)
        current_file = self._describe_step(run.job_step)["current_file"]
        for outcome in outcomes:
            if outcome.matches is None:
                continue  # a language modelling row: it has a loss and no answer
            run.add("evals", 1)
            run.add("correct", float(outcome.matches))
            run.add("think_tags", float(count_think_tags(outcome.raw.text or "")))
            recent, sample = shown(outcome, step=run.lineage_step, current_file=current_file)
            run.recent = [*run.recent, recent][-RECENT_EXAMPLES:]
            run.samples = [*run.samples, sample][-EVAL_SAMPLES:]
        if run.totals.get("evals"):
            accuracy = 100 * run.totals.get("correct", 0.0) / run.totals["evals"]
            run.accuracies = [*run.accuracies, round(accuracy, 2)][-HISTORY:]
        wall = time.monotonic() - run.training_began
        n_tokens = sum(o.n_tokens for o in outcomes)
        loss = sum(o.loss_sum for o in outcomes) / n_tokens if n_tokens else None
        fields: dict[str, Any] = {} if loss is None else {"validation_loss": round(loss, 6)}
        if kl is not None:
            fields["kl_to_incumbent"] = round(kl, 6)
            fields["active_alerts"] = alerts(kl, live_eval.kl_warning)
        append_metrics(self._run_dir, {"step": run.job_step, "loss": loss, "kl": kl}, EVALS)
        self._heartbeat.beat(
            force=True,
            phase=Phase.TRAINING,
            recent_examples=run.recent,
            eval_samples=run.samples,
            accuracy_history=run.accuracies,
            total_evals=int(run.totals.get("evals", 0)),
            total_correct=int(run.totals.get("correct", 0)),
            eval_share=round(live_eval.seconds / wall, 4),
            last_eval_rows=len(outcomes),
            **fields,
        )
