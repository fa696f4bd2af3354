"""
The held-out loss, looked at every so many steps, and what early stopping concludes from it.

Does not know how the loss is computed; core.early_stop decides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import HELD_OUT, append_metrics
from finetuned.training.progress import RunState


class EarlyStopping:
    """
    Updates ``state.early_stop`` every *eval_steps*, and writes the loss into held_out.jsonl.

    Every process of the run has one; only rank 0 writes.
    """

    def __init__(
        self,
        run_dir: Path,
        state: RunState,
        heartbeat: Heartbeat,
        *,
        eval_steps: int,
        held_out_loss: Callable[[], float],
    ) -> None:
        """
        Args:
            run_dir: Folder of the run; held_out.jsonl is appended to there.
            state: Position of the job; its early_stop is replaced after each look.
            heartbeat: Shows the loss.
            eval_steps: Job steps between two looks, >= 1.
            held_out_loss: Returns nats per supervised token, the same in every process.
        """
        self._run_dir = run_dir
        self._state = state
        self._heartbeat = heartbeat
        self._eval_steps = eval_steps
        self._held_out_loss = held_out_loss

    def after_step(self, *, stopping: bool) -> None:
        """
        Look at the held-out loss if it is time, also after the step that a stop ends with.
        """
        run = self._state
        if run.job_step % self._eval_steps:
            return
        began = time.monotonic()
        loss = self._held_out_loss()
        run.early_stop = run.early_stop.seen(run.job_step, loss)
        run.add("seconds_eval", time.monotonic() - began)
        append_metrics(self._run_dir, {"step": run.job_step, "loss": loss}, HELD_OUT)
        self._heartbeat.beat(validation_loss=round(loss, 6), best_loss=run.early_stop.best)
