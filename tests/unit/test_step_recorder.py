"""
What is written down of a step: a line of metrics.jsonl, running sums, the heartbeat.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import HELD_OUT, read_json, read_metrics
from finetuned.training import step_recorder
from finetuned.training.early_stopping import EarlyStopping
from finetuned.training.progress import Progress, RunState
from finetuned.training.rows import StepRows
from finetuned.training.step_recorder import LOSS_HISTORY_STEPS, StepFigures, StepRecorder

ROWS = StepRows(["aa:1", "aa:2"], ["bb:7"], "a.jsonl", tokens=30, epoch=1)


def run_state(job_step: int = 0, *, patience: int = 0) -> RunState:
    start = Progress(job_step, 100 + job_step, "digest", {})
    state = RunState(start, 10, "digest", WarmUp(0, 0), EarlyStop(patience, 0.0))
    state.training_began = time.monotonic()
    return state


def heartbeat(folder: Path) -> Heartbeat:
    return Heartbeat(folder, interval_seconds=0.0)


def record(folder: Path, state: RunState, *losses: float, seconds: float = 0.5) -> dict[str, Any]:
    """
    Record one step per loss and return the heartbeat after them.
    """
    recorder = StepRecorder(folder, state, heartbeat(folder))
    for loss in losses:
        state.job_step += 1
        figures = StepFigures(loss, 2.0, not math.isfinite(loss), 9, 40)
        recorder.record(figures, ROWS, learning_rate=1e-4, seconds=seconds)
    return read_json(folder / "heartbeat.json") or {}


def test_a_step_is_one_line_with_its_rows(tmp_path: Path) -> None:
    """
    Steps of job and lineage, both kinds of rows, all figures.
    """
    record(tmp_path, run_state(4), 1.25)
    (line,) = read_metrics(tmp_path)

    assert str(line.pop("at")).endswith("Z")
    assert {
        "step": 5,
        "lineage_step": 105,
        "loss": 1.25,
        "grad_norm": 2.0,
        "learning_rate": 1e-4,
        "skipped": False,
        "supervised_tokens": 9,
        "tokens": 30,
        "computed_tokens": 40,
        "seconds": 0.5,
        "examples": ["aa:1", "aa:2"],
        "replayed": ["bb:7"],
    } == line


def test_sums_and_rates_are_over_all_steps(tmp_path: Path) -> None:
    """
    A skipped step counts as a step; its loss is null in JSON.
    """
    state = run_state()
    beat = record(tmp_path, state, 1.0, math.nan, 3.0)

    assert {
        "seconds_steps": 1.5,
        "tokens": 90.0,
        "computed_tokens": 120.0,
        "steps_skipped": 1.0,
        "supervised_tokens": 27.0,
    } == state.totals
    assert (60.0, 60.0, 0.5, 1) == (
        beat["tokens_per_second"],
        beat["tokens_per_second_avg"],
        beat["seconds_per_step"],
        beat["steps_skipped"],
    )
    assert [1.0, None, 3.0] == beat["train_loss_history"]
    assert [1.0, None, 3.0] == [line["loss"] for line in read_metrics(tmp_path)]


def test_the_heartbeat_says_how_far_the_job_and_the_lineage_are(tmp_path: Path) -> None:
    """
    total_steps is where the lineage will be at the end of the job.
    """
    beat = record(tmp_path, run_state(4), 1.0, 1.0)

    assert (106, 110) == (beat["current_step"], beat["total_steps"])
    assert (6, 10) == (beat["batch_step"], beat["batch_total_steps"])
    assert ("training", "a.jsonl", 1) == (beat["phase"], beat["current_file"], beat["epoch"])
    assert beat["eta_seconds"] >= 0


def test_the_time_left_is_counted_in_tokens_of_this_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A resumed run whose first rows are short: what is left is ten times as long as by steps.
    """
    state = run_state(2)
    state.total_steps = 8
    state.tokens_before = [0, 20, 40, 60, 80, 280, 480, 680, 880]
    now = state.training_began + 6.0
    monkeypatch.setattr(step_recorder, "time", SimpleNamespace(monotonic=lambda: now))
    beat = record(tmp_path, state, 1.0, 1.0)

    assert 6.0 / 40 * 800 == beat["eta_seconds"]


def test_the_loss_history_has_a_length(tmp_path: Path) -> None:
    """
    The oldest losses go.
    """
    losses = [float(i) for i in range(LOSS_HISTORY_STEPS + 5)]
    beat = record(tmp_path, run_state(), *losses)

    assert losses[5:] == beat["train_loss_history"]


@pytest.mark.parametrize(("patience", "stops"), [(4, True), (6, False)])
def test_early_stopping_looks_every_eval_steps(tmp_path: Path, patience: int, stops: bool) -> None:
    """
    Looks at steps 2, 4 and 6: the loss of step 2 is the best.
    """
    state = run_state(patience=patience)
    losses = iter([2.0, 2.5, 2.25])
    early_stopping = EarlyStopping(
        tmp_path, state, heartbeat(tmp_path), eval_steps=2, held_out_loss=lambda: next(losses)
    )
    for _ in range(7):
        state.job_step += 1
        early_stopping.after_step(stopping=False)

    assert ((2, 4, 6), (2.0, 2.5, 2.25)) == (state.early_stop.steps, state.early_stop.losses)
    assert stops is state.early_stop.should_stop is state.is_done
    beat = read_json(tmp_path / "heartbeat.json") or {}
    assert (2.25, 2.0) == (beat["validation_loss"], beat["best_loss"])
    kept = [(2, 2.0), (4, 2.5), (6, 2.25)]
    assert kept == [(look["step"], look["loss"]) for look in read_metrics(tmp_path, HELD_OUT)]
    assert state.totals["seconds_eval"] >= 0
