"""
How far a training has moved from the incumbent, measured while it goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetuned.data.examples import to_example
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.files.run import EVALS, read_json, read_metrics
from finetuned.training.drift import Drift, rows_of
from finetuned.training.eval_recorder import alerts
from support.daemon import Daemon, make_root
from support.disk import log_events
from support.tiny_base import write_rows


@pytest.fixture
def model(tiny_base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_base).eval()


@pytest.fixture
def rows(tiny_base: Path) -> list[tuple[list[int], list[int]]]:
    renderer = Renderer.load(tiny_base, max_length=512)
    questions = [
        Question(str(i), to_example({"prompt": f"say {i}", "completion": f"ok {i}"}), "", "", "")
        for i in range(6)
    ]
    return rows_of(questions, renderer, 5)


def moved(model: Any, size: float) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))


def test_what_has_not_moved_is_at_distance_zero_and_the_further_the_farther(
    model: Any, rows: Any, tmp_path: Path
) -> None:
    """
    The distance is of the weights as they are, from those it began with.
    """
    assert 5 == len(rows)
    drift = Drift.begin(model, rows, tmp_path)
    assert 1e-6 > drift.measure(model)
    distances = []
    for size in (0.002, 0.01, 0.05):
        moved(model, size)
        distances.append(drift.measure(model))

    assert 0 < distances[0] < distances[1] < distances[2]


def test_it_is_a_lower_bound_of_the_divergence(model: Any, rows: Any, tmp_path: Path) -> None:
    """
    The tokens that are not kept count as one outcome: that can only hide distance.
    """

    def log_p() -> torch.Tensor:
        with torch.no_grad():
            parts = [
                model(input_ids=torch.tensor([ids])).logits[0, at].log_softmax(-1)
                for ids, at in rows
            ]
        return torch.cat(parts)

    old = log_p()
    drift = Drift.begin(model, rows, tmp_path)
    moved(model, 0.05)
    whole = float((old.exp() * (old - log_p())).sum(1).mean())

    assert 0 < drift.measure(model) <= whole + 1e-6


def test_a_resumed_run_measures_from_where_the_job_began(
    model: Any, rows: Any, tmp_path: Path
) -> None:
    """
    The model of a resumed run is no longer the incumbent; what that said was written down.
    """
    first = Drift.begin(model, rows, tmp_path)
    moved(model, 0.02)

    again = Drift.resume(rows, [tmp_path / "gone", tmp_path])
    assert again is not None
    assert first.measure(model) == pytest.approx(again.measure(model))
    assert Drift.resume(rows[:-1], [tmp_path]) is None  # other prompts, other distance


def test_far_is_an_alert_and_near_is_none() -> None:
    """
    The alert names the figure, the limit and its setting.
    """
    assert [] == alerts(0.5, 0.5)
    (alert,) = alerts(0.7, 0.5)
    assert "0.70" in alert["detail"]
    assert "evaluation.kl_warning 0.5" in alert["detail"]


@pytest.mark.slow
def test_a_job_shows_its_distance_and_the_report_its_curve(tmp_path: Path, tiny_base: Path) -> None:
    """
    From the first look on: in the status, in the run, in the report; and it warns.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        training="learning_rate = 1e-2",
        evaluation="kl_warning = 1e-9",
    )
    write_rows(root / "inbox" / "a.jsonl", 80)
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()

    status = read_json(root / "status" / "training_status.json") or {}
    assert 0 < status["kl_to_incumbent"]
    assert "drift" == status["active_alerts"][0]["name"]
    (run,) = {str(e["run_id"]) for e in log_events(root) if e["event"] == "training_ready"}
    records = read_metrics(root / "models" / "runs" / run, EVALS)
    report = read_json(root / "models" / "versions" / "v0001" / "eval_report.json") or {}
    assert [[r["step"], r["kl"]] for r in records if r["kl"] is not None] == report["curves"]["kl"]
