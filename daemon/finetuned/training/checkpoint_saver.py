"""
When checkpoints are written, and how long training stands still for them.

Every save_steps a copy of the state is taken between two steps and written on another
thread; before a stop and after the last step training waits until it is written. Does
not know what a checkpoint consists of: copying and writing are arguments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from finetuned.core.phase import Phase
from finetuned.files.heartbeat import Heartbeat
from finetuned.training.background import BackgroundSaver
from finetuned.training.progress import RunState

Copy = TypeVar("Copy")

_BEAT_SECONDS = 1.0
"""Longest wait for the writer between two heartbeats."""


class CheckpointSaver(Generic[Copy]):
    """
    Saves the checkpoints of one run.

    With a sharded model every process has a saver, since all of them take part in
    copying; otherwise only rank 0 has one.
    """

    def __init__(
        self,
        state: RunState,
        heartbeat: Heartbeat,
        *,
        save_steps: int,
        take_copy: Callable[[], Copy],
        write: Callable[[Copy], Path] | None,
        in_step: bool = False,
    ) -> None:
        """
        Args:
            state: Position of the job; the time that training stood still is added to it.
            heartbeat: Shows the newest checkpoint, and that the worker goes on.
            save_steps: Job steps between two checkpoints, >= 1.
            take_copy: Copies the run's state; called between two steps.
            write: Writes a copy durably and returns the checkpoint; called on another
                thread too. None if another process writes.
            in_step: Whether all processes must copy after the same step. Then training
                waits for the writer instead of trying again after the next step, because
                only one process knows whether it is busy.
        """
        self._state = state
        self._heartbeat = heartbeat
        self._save_steps = save_steps
        self._take_copy = take_copy
        self._write = write
        self._in_step = in_step
        self._background: BackgroundSaver[Copy, tuple[Path, float] | None] = BackgroundSaver()
        self._is_due = False

    def after_step(self, *, stopping: bool) -> None:
        """
        Save if it is time: on another thread, or here if no step follows.

        Raises:
            OSError: The file system refused; the checkpoints before are untouched.
            ModelError: The checkpoint that was written does not load.
        """
        self._is_due = self._is_due or self._state.job_step % self._save_steps == 0
        if stopping or self._state.is_done:
            self._save_here()
        else:
            self._save_meanwhile()

    def save_first(self) -> None:
        """
        Begin to write the checkpoint of step 0.

        A file system that cannot hold a checkpoint shows at once and not after save_steps.

        Raises:
            OSError, ModelError: As after_step.
        """
        self._is_due = True
        self._save_meanwhile()

    def finish(self) -> None:
        """
        Wait for the checkpoint that is being written.

        Raises:
            OSError, ModelError: As after_step.
        """
        self._show(self._background.wait())

    def _save_here(self) -> None:
        """Write a checkpoint now and wait until it is there."""
        began = time.monotonic()
        self._heartbeat.beat(force=True, phase=Phase.CHECKPOINTING)
        while self._background.busy:
            self._show(self._background.wait(_BEAT_SECONDS))
            self._heartbeat.beat()
        self.finish()
        written = self._timed_write(self._take_copy())
        if written is not None:
            self._add_stall(time.monotonic() - began)
            self._show([written])
        self._is_due = False
        self._heartbeat.beat(force=True, phase=Phase.TRAINING)

    def _save_meanwhile(self) -> None:
        """Show what the writer finished; start it again if a checkpoint is due and it is idle."""
        if self._is_due and self._in_step:
            self.finish()
        self._show(self._background.poll())
        if not self._is_due or self._background.busy:
            return
        began = time.monotonic()
        if self._background.submit(self._take_copy(), self._timed_write):
            self._is_due = False
            self._add_stall(time.monotonic() - began)

    def _timed_write(self, copy: Copy) -> tuple[Path, float] | None:
        """Write *copy*; return the checkpoint and its seconds, None if another process writes."""
        if self._write is None:
            return None
        began = time.monotonic()
        return self._write(copy), time.monotonic() - began

    def _add_stall(self, seconds: float) -> None:
        self._state.add("seconds_checkpoint", seconds)
        self._heartbeat.beat(checkpoint_stall_seconds=round(seconds, 4))

    def _show(self, finished: list[tuple[Path, float] | None]) -> None:
        for path, seconds in filter(None, finished):
            self._heartbeat.beat(
                checkpoint_step=int(path.name.rpartition("-")[2]),
                checkpoint_bytes=sum(f.stat().st_size for f in path.iterdir()),
                checkpoint_seconds=round(seconds, 3),
            )
