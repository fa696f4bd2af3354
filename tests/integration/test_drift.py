"""
How far a training has moved from the incumbent, measured while it goes on.

That a job shows it is tested on a root that has trained one (test_consolidation.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.suite import Question
from finetuned.training.drift import Drift, rows_of


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
