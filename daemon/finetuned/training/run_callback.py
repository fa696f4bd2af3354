"""
The order in which a run records, checks, saves and looks after each optimizer step.

Does not train; each part lives in a file of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetuned.training.progress import RunState


class StepPart(Protocol):
    """
    Something a run does after some of its steps.
    """

    def after_step(self, *, stopping: bool) -> None:
        """
        Do it if it is time.

        Args:
            stopping: Whether training ends with this step because a stop was asked for.
        """


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """
    Connects the Trainer with the parts of one run.
    """

    def __init__(
        self,
        state: RunState,
        *,
        record_step: Callable[[float], None],
        parts: Sequence[StepPart],
        should_stop: Callable[[], bool],
    ) -> None:
        """
        Args:
            state: Its job_step is set, and the moment at which training began.
            record_step: Writes the step down; called with its wall time in seconds.
            parts: Called after it, in this order.
            should_stop: Whether a stop was asked for: the same answer in every process.
        """
        self._state = state
        self._record_step = record_step
        self._parts = parts
        self._should_stop = should_stop
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
        Record the step, let each part do its work, and end training if it is to stop.
        """
        seconds = time.monotonic() - self._step_began
        self._state.job_step = self._state.start.job_step + state.global_step
        stopping = self._should_stop()
        self._record_step(seconds)
        for part in self._parts:
            part.after_step(stopping=stopping)
        if stopping or self._state.early_stop.should_stop:
            control.should_training_stop = True
