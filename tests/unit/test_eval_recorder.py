"""
When live evals are made, and how their outcomes are written down.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp
from finetuned.data.reader import to_example
from finetuned.data.suite import Question
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import EVALS, read_json, read_metrics
from finetuned.inference.outcome import Outcome, Raw, mark
from finetuned.training.eval_recorder import RECENT_EXAMPLES, EvalRecorder, alerts
from finetuned.training.progress import Progress, RunState
from finetuned.training.rows import StepRows


def outcome(text: str, golden: str = "ok", *, loss: float = 2.0, late: bool = False) -> Outcome:
    """
    Return what it is worth that a model answered *text*; the row has 4 supervised tokens.
    """
    example = to_example({"prompt": "say", "completion": golden})
    raw = Raw(text, loss, 4, 4, 3, stopped=not late, timed_out=late, seconds=0.1)
    return mark(Question("q1", example, "be short", "say", golden), raw)


class ScriptedEval:
    """
    A live eval whose budget and outcomes are given: rows allowed per step, and what is answered.
    """

    kl_warning = 0.5

    def __init__(
        self, allowed: Sequence[int], outcomes: Sequence[Outcome], kl: float | None
    ) -> None:
        self.seconds = 0.0
        self.asked: list[int] = []
        self.expected: list[float] = []
        self.followed: list[bool] = []
        self._allowed = iter(allowed)
        self._outcomes = list(outcomes)
        self._kl = kl

    def rows_affordable(self, training_seconds: float) -> int:
        return next(self._allowed)

    def seconds_allowed(self, training_seconds: float, expected_seconds: float) -> float:
        self.expected.append(expected_seconds)
        return 9.0

    def look(self, rows: int, *, seconds: float, followed: bool) -> list[Outcome]:
        assert 9.0 == seconds
        self.asked.append(rows)
        self.followed.append(followed)
        self.seconds += 0.25
        return self._outcomes

    def drift_now(self, training_seconds: float, expected_seconds: float) -> float | None:
        return self._kl


class Run:
    """
    A run at its beginning, with a recorder that looks every 4 steps.
    """

    def __init__(self, folder: Path, allowed: Sequence[int], *outcomes: Outcome, **kl: Any) -> None:
        self.folder = folder
        start = Progress(0, 100, "digest", {})
        self.state = RunState(start, 20, "digest", WarmUp(0, 0), EarlyStop(0, 0.0))
        self.state.training_began = time.monotonic() - 1.0
        self.live_eval = ScriptedEval(allowed, outcomes, kl.get("kl"))
        self.recorder = EvalRecorder(
            folder,
            self.state,
            Heartbeat(folder, interval_seconds=0.0),
            live_eval=self.live_eval,  # type: ignore[arg-type]
            eval_steps=4,
            describe_step=lambda step: StepRows([], [], f"file-{step}", 1, 0),
        )

    def steps(self, n: int, *, stopping: bool = False) -> dict[str, Any]:
        for _ in range(n):
            self.state.job_step += 1
            self.recorder.after_step(stopping=stopping)
        return read_json(self.folder / "heartbeat.json") or {}


def test_there_is_a_look_after_the_first_step_and_every_eval_steps(tmp_path: Path) -> None:
    """
    The budget is asked only when a look is due.
    """
    run = Run(tmp_path, [1, 2, 4], outcome("ok"))
    run.steps(9)

    assert [1, 2, 4] == run.live_eval.asked
    assert [1, 4, 8] == [record["step"] for record in read_metrics(tmp_path, EVALS)]


def test_a_look_without_budget_is_made_as_soon_as_there_is_some(tmp_path: Path) -> None:
    """
    It is late and not lost; nothing is written meanwhile.
    """
    run = Run(tmp_path, [0, 0, 3], outcome("ok"))
    run.steps(3)

    assert [3] == [record["step"] for record in read_metrics(tmp_path, EVALS)]


def test_a_run_that_stops_looks_no_more(tmp_path: Path) -> None:
    """
    Also if a look is due.
    """
    run = Run(tmp_path, [])
    run.steps(4, stopping=True)

    assert [] == run.live_eval.asked


def test_answers_are_counted_and_shown(tmp_path: Path) -> None:
    """
    Right and wrong ones, the mean loss per token, the newest examples only.
    """
    answers = [outcome("ok"), outcome("no", loss=4.0), outcome("<think>hm</think>ok", loss=0.0)]
    run = Run(tmp_path, [3, 3], *answers)
    beat = run.steps(4)

    totals = run.state.totals
    assert (6.0, 4.0) == (totals["evals"], totals["correct"])
    assert totals["think_tags"] > 0
    assert pytest.approx(0.5) == totals["seconds_eval"]
    assert (6, 4, 3) == (beat["total_evals"], beat["total_correct"], beat["last_eval_rows"])
    assert [66.67, 66.67] == beat["accuracy_history"]
    assert pytest.approx(0.5) == beat["validation_loss"]
    assert RECENT_EXAMPLES == len(beat["recent_examples"])
    newest = beat["recent_examples"][-1]
    assert (104, "file-4", "be short") == (
        newest["step"],
        newest["current_file"],
        newest["system_prompt"],
    )
    assert 6 == len(beat["eval_samples"])


def test_a_text_row_has_a_loss_and_no_answer(tmp_path: Path) -> None:
    """
    It is not counted as an eval.
    """
    example = to_example({"text": "once upon a time"})
    raw = Raw(None, 8.0, 4, 0, 0, stopped=False, timed_out=False, seconds=0.1)
    run = Run(tmp_path, [1], mark(Question("t", example, "", "", None), raw))
    beat = run.steps(1)

    assert (0, 2.0) == (beat["total_evals"], beat["validation_loss"])
    assert "evals" not in run.state.totals


def test_what_a_look_may_take_follows_from_how_long_the_job_will_take(tmp_path: Path) -> None:
    """
    After one step of 20 in a second, the job is expected to take 20.
    """
    run = Run(tmp_path, [1], outcome("ok"))
    run.steps(1)

    assert [pytest.approx(20.0, rel=0.5)] == run.live_eval.expected


def test_an_answer_that_the_deadline_cut_is_shown_and_not_counted(tmp_path: Path) -> None:
    """
    How fast the machine is says nothing of the model.
    """
    beat = Run(tmp_path, [1], outcome("ok"), outcome("o", late=True)).steps(1)

    assert (1, 1, [100.0]) == (beat["total_evals"], beat["total_correct"], beat["accuracy_history"])
    assert [(True, False), (None, True)] == [
        (shown["matches"], shown["timed_out"]) for shown in beat["recent_examples"]
    ]
    assert 1 == len(beat["eval_samples"])


def test_a_look_that_answered_nothing_has_no_loss(tmp_path: Path) -> None:
    """
    The deadline came first; the line says null.
    """
    run = Run(tmp_path, [4])
    beat = run.steps(1)

    assert "validation_loss" not in beat
    (line,) = read_metrics(tmp_path, EVALS)
    assert (1, None, None, []) == (line["step"], line["loss"], line["kl"], line["answers"])


def test_every_answer_is_kept_with_its_question(tmp_path: Path) -> None:
    """
    Else nobody could tell afterwards when an answer became right.
    """
    Run(tmp_path, [2], outcome("ok"), outcome("no", loss=4.0)).steps(1)

    (line,) = read_metrics(tmp_path, EVALS)
    assert (101, False) == (line["lineage_step"], line["followed"])
    assert [
        {"id": "q1", "answer": "ok", "matches": True, "loss": 0.5, "n_tokens": 4},
        {"id": "q1", "answer": "no", "matches": False, "loss": 1.0, "n_tokens": 4},
    ] == line["answers"]


def test_the_same_questions_are_asked_again_on_schedule(tmp_path: Path) -> None:
    """
    At the first look that the budget allows at or after a step of the schedule: 10 and 25.
    """
    run = Run(tmp_path, [1] * 9, outcome("ok"))
    run.steps(28)

    looks = [record["step"] for record in read_metrics(tmp_path, EVALS)]
    assert [1, 4, 8, 12, 16, 20, 24, 28] == looks
    assert [12, 28] == [s for s, f in zip(looks, run.live_eval.followed, strict=True) if f]


def test_the_distance_is_shown_and_warned_of(tmp_path: Path) -> None:
    """
    Above kl_warning there is an alert.
    """
    beat = Run(tmp_path, [1], outcome("ok"), kl=0.7).steps(1)

    assert 0.7 == beat["kl_to_incumbent"]
    assert ["drift"] == [alert["name"] for alert in beat["active_alerts"]]


def test_far_is_an_alert_and_near_is_none() -> None:
    """
    The alert names the figure, the limit and its setting.
    """
    assert [] == alerts(0.5, 0.5)
    (alert,) = alerts(0.7, 0.5)
    assert "0.70" in alert["detail"]
    assert "evaluation.kl_warning 0.5" in alert["detail"]
