"""
status/training_status.json: what the daemon shows of itself, to jq and to people.

One snapshot, replaced atomically. Fields never disappear and a crash never
zeroes them: at start the last file is read back, and what a worker says is laid
over what was known. docs/reference/training_status.schema.json is its contract.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

import orjson
import structlog

from finetuned.core.books import Books
from finetuned.core.job import JobState
from finetuned.core.metrics import trend
from finetuned.core.record import to_json
from finetuned.core.remaining_time import RemainingTime
from finetuned.files.atomic import write_atomic
from finetuned.files.heartbeat import Beat, known_fields
from finetuned.files.run import read_json, utc_now
from finetuned.files.status_file import STRANGE, boot_id
from finetuned.supervisor.last_status import NO_VERDICT, restored

log = structlog.get_logger()

SCHEMA_VERSION = 1

QUEUE = ("inbox", "claimed", "accepted", "duplicate", "quarantined", *map(str, JobState))
"""What ``queue`` counts: files in the inbox, datasets and jobs by state."""

NOTHING_BEYOND: dict[str, Any] = {"versions": 0, "n_datasets": 0, "datasets": []}
"""``beyond_release`` while the head has learnt what the release has."""

DEFAULTS: dict[str, Any] = {
    # what the ancestor's scripts read
    "status": "idle",
    "current_step": 0,
    "total_steps": 0,
    "epoch": 0,
    "loss": 0.0,
    "learning_rate": 0.0,
    "timestamp": None,
    "max_output_tokens": None,
    "context_window": None,
    "batch_step": 0,
    "batch_total_steps": 0,
    "batch_number": None,
    "batch_queue_size": 0,
    "current_file": None,
    "current_system_prompt": None,
    "current_prompt": None,
    "golden_answer": None,
    "model_answer": None,
    "answer_matches": None,
    "recent_examples": [],
    "eval_samples": [],
    "total_evals": 0,
    "total_correct": 0,
    "accuracy_percent": 0.0,
    "train_loss_history": [],
    "accuracy_history": [],
    "fixed_eval_em": None,
    "fixed_eval_ce": None,
    "fixed_eval_ece": None,
    "fixed_eval_trend": None,
    "accuracy_last_20": None,
    "accuracy_last_50": None,
    "accuracy_trend": None,
    "pattern_heatmap": None,
    "lora_stats": None,
    "lora_summary": None,
    "streaming_ce": None,
    "loss_variance": None,
    "token_entropy": None,
    "loss_trend": None,
    "active_alerts": [],
    "alert_summary": None,
    "tokens_per_sec": None,
    "tokens_per_sec_avg": None,
    "tokens_per_sec_baseline": None,
    "throughput_trend": None,
    "validation_loss": None,
    "val_train_gap": None,
    "think_tag_count": 0,
    "think_tag_percent": 0.0,
    "max_golden_output_length": None,
    "max_model_output_length": None,
    "current_golden_output_length": None,
    "current_model_output_length": None,
    "error_message": None,
    "error_type": None,
    # ours
    "schema_version": SCHEMA_VERSION,
    "pid": 0,
    "boot_id": "",
    "heartbeat_at": None,
    "phase": "starting",
    **dict.fromkeys(("phase_since", "phase_detail")),
    "waiting_reason": None,
    "paused_reason": None,
    "job": None,
    "queue": dict.fromkeys(QUEUE, 0),
    "books": Books().as_dict(),
    "eta_seconds": None,
    "tokens_per_second": None,
    "seconds_per_step": None,
    "grad_norm": None,
    "eval_share": None,
    "checkpoint_step": None,
    "checkpoint_bytes": None,
    "checkpoint_seconds": None,
    "optimizer_state": None,
    "checkpoint_stall_seconds": None,
    "steps_skipped": None,
    "warm_up": None,
    "kernels": None,
    "precision": None,
    "max_batch_tokens": None,
    "validating": None,
    **dict.fromkeys(("evaluation_done", "evaluation_total", "evaluation_left_out")),
    "version": None,
    "head": None,
    "beyond_release": NOTHING_BEYOND,
    "last_verdict": NO_VERDICT,
    **dict.fromkeys(("kl_to_incumbent", "report")),
    **dict.fromkeys(("watch", "last_incident", "last_repair", "last_command", "config_error")),
    "inbox_problems": [],
    "unused_keys": [],
    "inbox_waiting": [],
    "restarts": 0,
    "host": {},
    "gpus": [],
}

_FROM_WORKER = (
    "current_step",
    "total_steps",
    "epoch",
    "loss",
    "learning_rate",
    "batch_step",
    "batch_total_steps",
    "current_file",
    "recent_examples",
    "eval_samples",
    "total_evals",
    "total_correct",
    "train_loss_history",
    "accuracy_history",
    "validation_loss",
    "kl_to_incumbent",
    "active_alerts",
    "grad_norm",
    "eval_share",
    "checkpoint_step",
    "checkpoint_bytes",
    "checkpoint_seconds",
    "optimizer_state",
    "checkpoint_stall_seconds",
    "steps_skipped",
    "warm_up",
    "kernels",
    "precision",
    "max_batch_tokens",
)
"""Fields that keep their value until a heartbeat has a newer one."""

_NOW = (
    "phase_detail",
    "eta_seconds",
    "tokens_per_second",
    "seconds_per_step",
    "evaluation_done",
    "evaluation_total",
    "evaluation_left_out",
)
"""Fields that are true of the current run only: null unless its last heartbeat has them."""

_OF_THE_JOB: dict[str, Any] = {
    "current_file": None,
    "batch_step": 0,
    "batch_total_steps": 0,
    "active_alerts": [],
    **dict.fromkeys((*_NOW, "alert_summary", "kl_to_incumbent")),
}
"""Fields that belong to one job, with their values while no job runs."""


class StatusBoard:
    """
    The one writer of the status file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._evaluation: RemainingTime | None = None
        self.fields = self._restored(path)

    def _restored(self, path: Path) -> dict[str, Any]:
        """Return the fields of the last snapshot, or of none if nothing can follow on it."""
        own = {"schema_version": SCHEMA_VERSION, "pid": os.getpid(), "boot_id": boot_id()}
        fields = restored(read_json(path) or {}, DEFAULTS) | own
        self.fields = dict(fields)
        try:
            self._derive(Beat(pid=0))
            self.show_job({"id": ""})
        except STRANGE as error:  # its lists and objects may hold anything
            log.warning("status_begun_anew", error=f"{type(error).__name__}: {error}")
            return {**DEFAULTS, **own}
        return fields

    def update(self, **fields: Any) -> None:
        """
        Lay *fields* over what is known.

        Raises:
            KeyError: A field that the schema does not know.
        """
        if unknown := fields.keys() - DEFAULTS.keys():
            raise KeyError(*unknown)
        if fields.get("phase", self.fields["phase"]) != self.fields["phase"]:
            self.fields["phase_since"] = utc_now()
        self.fields.update(fields)

    def take_heartbeat(self, beat: Beat) -> None:
        """
        Lay a worker's heartbeat over what is known, and derive the rest.
        """
        said = known_fields(beat)
        if beat.batch_step is not None:  # a step without a finite loss has none to show
            said |= {"loss": beat.loss, "grad_norm": beat.grad_norm}
        for name in _FROM_WORKER:
            if name in said:
                self.fields[name] = to_json(said[name])
        for name in _NOW:
            self.fields[name] = said.get(name)
        self._estimate_end()
        self._derive(beat)

    def show_job(self, job: dict[str, Any] | None) -> None:
        """
        Show *job* as the one that runs; clear what was said of another one.

        Args:
            job: As the status shows it, with its ``id``; None if no job has a worker.
        """
        shown = self.fields["job"]
        if job is None or shown is None or shown["id"] != job["id"]:
            self.fields.update(_OF_THE_JOB, tokens_per_sec=None)
            self.fields["total_steps"] = self.fields["current_step"]
        self.fields["job"] = job

    def _estimate_end(self) -> None:
        fields = self.fields
        if fields["evaluation_total"] is None:
            self._evaluation = None
            # 0 means that the last step is done; saving the candidate takes an unknown time.
            fields["eta_seconds"] = fields["eta_seconds"] or None
            return
        if self._evaluation is None:
            self._evaluation = RemainingTime()
        done, total = fields["evaluation_done"], fields["evaluation_total"]
        if (left := self._evaluation.observe(done, total, time.monotonic())) is not None:
            fields["eta_seconds"] = round(left, 1)  # before, what the worker expects

    def _derive(self, beat: Beat) -> None:
        fields = self.fields
        fields["tokens_per_sec"] = fields["tokens_per_second"]
        if beat.tokens_per_second_avg is not None:
            fields["tokens_per_sec_avg"] = beat.tokens_per_second_avg
        losses = [x for x in fields["train_loss_history"] if x is not None]  # NaN is null in JSON
        fields["loss_trend"] = trend(losses, tolerance=0.01, higher_is_better=False)
        fields["streaming_ce"] = round(statistics.fmean(losses[-20:]), 6) if losses else None
        fields["alert_summary"] = ", ".join(a["name"] for a in fields["active_alerts"]) or None
        if len(losses) > 1:
            fields["loss_variance"] = round(statistics.pvariance(losses[-50:]), 6)
        if fields["validation_loss"] is not None and losses:
            fields["val_train_gap"] = round(fields["validation_loss"] - losses[-1], 6)
        self._derive_accuracy()
        recent = fields["recent_examples"]
        if recent:
            last = recent[-1]
            fields.update(
                current_system_prompt=last["system_prompt"],
                current_prompt=last["prompt"],
                golden_answer=last["golden"],
                model_answer=last["model_output"],
                answer_matches=last["matches"],
                current_golden_output_length=last.get("golden_tokens"),
                current_model_output_length=last.get("answer_tokens"),
                max_golden_output_length=max(e.get("golden_tokens") or 0 for e in recent),
                max_model_output_length=max(e.get("answer_tokens") or 0 for e in recent),
            )

    def _derive_accuracy(self) -> None:
        fields = self.fields
        matches = [bool(s["answer_matches"]) for s in fields["eval_samples"]]
        for n in (20, 50):
            tail = matches[-n:]
            fields[f"accuracy_last_{n}"] = round(100 * sum(tail) / len(tail), 2) if tail else None
        if fields["total_evals"]:
            fields["accuracy_percent"] = round(
                100 * fields["total_correct"] / fields["total_evals"], 2
            )
        fields["accuracy_trend"] = trend(
            [100.0 * m for m in matches], tolerance=5.0, higher_is_better=True
        )
        answers = [s["model_answer"] or "" for s in fields["eval_samples"]]
        fields["think_tag_count"] = sum(a.count("<think>") for a in answers)
        fields["think_tag_percent"] = (
            round(100 * sum("<think>" in a for a in answers) / len(answers), 2) if answers else 0.0
        )

    def write(self, *, durable: bool) -> None:
        """
        Replace the status file.

        Args:
            durable: At a change of state; a mere heartbeat need not reach the disk.

        Raises:
            OSError: The file system refused; the last snapshot is still there.
        """
        now = utc_now()
        self.fields["heartbeat_at"] = now
        self.fields["timestamp"] = now
        try:
            write_atomic(self._path, orjson.dumps(self.fields), durable=durable)
        except FileNotFoundError:
            # Somebody removed status/ while the daemon runs. The root itself is never made again.
            self._path.parent.mkdir(exist_ok=True)
            write_atomic(self._path, orjson.dumps(self.fields), durable=durable)
