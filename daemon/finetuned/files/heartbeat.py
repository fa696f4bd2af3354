"""
heartbeat.json: what a worker shows of its run, replaced a few times a second.

A beat also says that the worker makes progress: it is written when something
was done, never by a timer. One dataclass for all kinds of workers: a field that
a kind does not know stays None. Of several processes of one run only rank 0 writes.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.phase import Phase
from finetuned.core.record import from_json
from finetuned.files.atomic import write_atomic
from finetuned.files.rank import rank
from finetuned.files.run import read_json, utc_now

HEARTBEAT = "heartbeat.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """
    The state of a run as its worker last wrote it.
    """

    pid: int
    beats: int = 0
    """Counts up by one for every sign of progress, written or not."""
    at: str | None = None
    """RFC 3339 UTC."""
    phase: Phase | None = None
    phase_detail: str | None = None
    """What of the phase is being done, for people; None again at the next beat with a phase."""

    # ingestion
    file: str | None = None
    rows: int | None = None
    bytes: int | None = None
    bytes_total: int | None = None
    files_done: int | None = None
    files_total: int | None = None

    # training: how this run computes
    ready_at: str | None = None
    """When the first step began; before it the fields below may still change."""
    optimizer_state: str | None = None
    warm_up: str | None = None
    chat_template: str | None = None
    kernels: str | None = None
    kernels_reason: str | None = None
    """Why these: the seconds of all that were timed, and whether it was close."""
    kernels_timed: dict[str, Any] | None = None
    kernels_refused: dict[str, Any] | None = None
    precision: str | None = None
    replay: tuple[str, ...] | None = None
    """For each family of earlier files: how many rows are presented again, and why so many."""
    max_batch_tokens: int | None = None

    # training: how far it is
    current_step: int | None = None
    total_steps: int | None = None
    epoch: float | None = None
    batch_step: int | None = None
    batch_total_steps: int | None = None
    current_file: str | None = None
    loss: float | None = None
    grad_norm: float | None = None
    learning_rate: float | None = None
    steps_skipped: int | None = None
    train_loss_history: tuple[float | None, ...] | None = None
    tokens_per_second: float | None = None
    tokens_per_second_avg: float | None = None
    seconds_per_step: float | None = None
    eta_seconds: float | None = None
    active_alerts: tuple[Any, ...] | None = None
    validation_loss: float | None = None
    best_loss: float | None = None
    kl_to_incumbent: float | None = None

    # training: answers to held-out rows between steps
    recent_examples: tuple[dict[str, Any], ...] | None = None
    eval_samples: tuple[dict[str, Any], ...] | None = None
    accuracy_history: tuple[float | None, ...] | None = None
    total_evals: int | None = None
    total_correct: int | None = None
    eval_share: float | None = None
    last_eval_rows: int | None = None

    # training: checkpoints
    checkpoint_step: int | None = None
    checkpoint_bytes: int | None = None
    checkpoint_seconds: float | None = None
    checkpoint_stall_seconds: float | None = None

    # evaluation
    subject: str | None = None
    suite: str | None = None
    evaluation_done: int | None = None
    """Items asked so far, of all subjects."""
    evaluation_total: int | None = None
    evaluation_left_out: int | None = None
    """Items for which there is no time, of each model."""
    evaluation_plan: dict[str, float | None] | None = None
    """What was expected before: items, left_out, seconds, tokens_per_second, max_seconds."""


class Heartbeat:
    """
    The writer of one run's heartbeat; writes at most every *interval_seconds*.
    """

    def __init__(self, folder: Path, *, interval_seconds: float = 0.25) -> None:
        self._path = folder / HEARTBEAT
        self._interval = interval_seconds
        self._last = 0.0
        self.now = Beat(pid=os.getpid())

    def beat(self, *, force: bool = False, **fields: Any) -> None:
        """
        Take in *fields*, and write them unless that was done a moment ago.

        A full disk is no reason to stop working: such a beat is dropped. So is
        every beat of another rank than 0.

        Raises:
            TypeError: Beat has no such field.
        """
        if rank() != 0:
            return
        if "phase" in fields:
            fields.setdefault("phase_detail", None)
        self.now = replace(self.now, beats=self.now.beats + 1, **fields)
        now = time.monotonic()
        if not force and now - self._last < self._interval:
            return
        self._last = now
        self.now = replace(self.now, at=utc_now())
        try:
            data = orjson.dumps(known_fields(self.now), option=orjson.OPT_SERIALIZE_NUMPY)
            write_atomic(self._path, data, durable=False)
        except OSError:
            pass


def known_fields(beat: Beat) -> dict[str, Any]:
    """
    Return the fields that are set, as JSON holds them.
    """
    return {name: value for name, value in asdict(beat).items() if value is not None}


def read_beat(folder: Path) -> Beat | None:
    """
    Return the last heartbeat in a run folder, None if there is none or it is cut.

    Raises:
        RecordError: It has other keys or types than Beat.
    """
    path = folder / HEARTBEAT
    value = read_json(path)
    return None if value is None else from_json(Beat, value, source=path)
