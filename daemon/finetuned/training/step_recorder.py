"""
What one optimizer step did, written down: a line of metrics.jsonl and the heartbeat.

Does not know models; the figures of a step are arguments.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from finetuned.core.phase import Phase
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import append_metrics, utc_now
from finetuned.training.progress import RunState
from finetuned.training.rows import StepRows

LOSS_HISTORY_STEPS = 200
"""Steps whose loss the status shows."""

_RATE_STEPS = 50
"""Steps over which tokens_per_second and seconds_per_step are averaged."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """
    What the trainer computed in one optimizer step.
    """

    loss: float = 0.0
    """Mean over the step's supervised tokens, in nats; may be NaN or Inf."""
    grad_norm: float = 0.0
    """L2 norm of the gradient before clipping; may be NaN or Inf."""
    skipped: bool = False
    """Whether the step was left out because loss or gradient was not finite."""
    supervised_tokens: int = 0
    computed_tokens: int = 0
    """Tokens of the planned micro-batches, padding included and shared beginnings once."""


@dataclass
class _Window:
    """
    The last steps of this process, for the rates that the status shows.
    """

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_RATE_STEPS))
    tokens: deque[int] = field(default_factory=lambda: deque(maxlen=_RATE_STEPS))
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSS_HISTORY_STEPS))

    def add(self, seconds: float, tokens: int, loss: float) -> None:
        self.seconds.append(seconds)
        self.tokens.append(tokens)
        self.losses.append(loss)


class StepRecorder:
    """
    Writes each step of a run into its folder.
    """

    def __init__(self, run_dir: Path, state: RunState, heartbeat: Heartbeat) -> None:
        """
        Args:
            run_dir: Folder of the run; metrics.jsonl is appended to there.
            state: Its running sums are added to.
            heartbeat: Shows progress, losses and rates.
        """
        self._run_dir = run_dir
        self._state = state
        self._heartbeat = heartbeat
        self._window = _Window()

    def record(
        self, figures: StepFigures, rows: StepRows, *, learning_rate: float, seconds: float
    ) -> None:
        """
        Record the step that ended last; ``state.job_step`` counts it already.

        Args:
            figures: From the trainer.
            rows: From the plan.
            learning_rate: Of the optimizer now.
            seconds: Wall time of the step, > 0.
        """
        self._window.add(seconds, rows.tokens, figures.loss)
        self._add_totals(figures, rows, seconds)
        self._append(figures, rows, learning_rate, seconds)
        self._beat(figures, rows, learning_rate)

    def _add_totals(self, figures: StepFigures, rows: StepRows, seconds: float) -> None:
        run = self._state
        run.add("seconds_steps", seconds)
        run.add("tokens", rows.tokens)
        run.add("computed_tokens", figures.computed_tokens)
        run.add("steps_skipped", float(figures.skipped))
        if figures.skipped:
            run.left_out.append(run.job_step)
        run.add("supervised_tokens", figures.supervised_tokens)

    def _append(
        self, figures: StepFigures, rows: StepRows, learning_rate: float, seconds: float
    ) -> None:
        record = {
            "step": self._state.job_step,
            "lineage_step": self._state.lineage_step,
            "loss": figures.loss,
            "grad_norm": figures.grad_norm,
            "learning_rate": learning_rate,
            "skipped": figures.skipped,
            "supervised_tokens": figures.supervised_tokens,
            "tokens": rows.tokens,
            "computed_tokens": figures.computed_tokens,
            "seconds": round(seconds, 4),
            "examples": rows.examples,
            "replayed": rows.replayed,
            "at": utc_now(),
        }
        append_metrics(self._run_dir, record)

    def _beat(self, figures: StepFigures, rows: StepRows, learning_rate: float) -> None:
        run, window = self._state, self._window
        window_seconds = sum(window.seconds)
        elapsed = time.monotonic() - run.training_began
        self._heartbeat.beat(
            phase=Phase.TRAINING,
            current_step=run.lineage_step,
            total_steps=run.lineage_step + run.steps_left,
            batch_step=run.job_step,
            batch_total_steps=run.total_steps,
            epoch=rows.epoch,
            current_file=rows.current_file,
            loss=figures.loss,
            grad_norm=figures.grad_norm,
            learning_rate=learning_rate,
            steps_skipped=int(run.totals["steps_skipped"]),
            train_loss_history=[round(x, 6) for x in window.losses],
            tokens_per_second=round(sum(window.tokens) / window_seconds, 1),
            tokens_per_second_avg=round(run.totals["tokens"] / run.totals["seconds_steps"], 1),
            seconds_per_step=round(window_seconds / len(window.seconds), 4),
            eta_seconds=round(run.seconds_left(elapsed), 1),
        )
