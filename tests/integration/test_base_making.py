"""
Laws of how the embedded base model is made.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from experiments.base_model import make
from experiments.base_model.muon import Muon, orthogonal
from experiments.base_model.state import OtherSettings

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MICRO)


class Cut(Exception):
    """
    Stands for a power cut.
    """


def settings(folder: Path, **changed: Any) -> argparse.Namespace:
    given: dict[str, Any] = {
        "seed": 0,
        "steps": 4,
        "batch": 2,
        "learning_rate": 1e-3,
        "autocast": False,
    }
    return argparse.Namespace(
        **{**given, "save_every": 2, "state": folder, "threads": 1, **changed}
    )


def test_a_making_that_was_cut_goes_on_to_the_same_model(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Weights, momentum and the place in the text are all in the state.
    """
    whole = make.pretrain(tokenizer, settings(tmp_path / "whole", save_every=100))
    step, made = Muon.step, []

    def cut(self: Muon, closure: Any = None) -> None:
        made.append(1)
        if len(made) == 4:
            raise Cut
        step(self, closure)

    monkeypatch.setattr(Muon, "step", cut)
    with pytest.raises(Cut):
        make.pretrain(tokenizer, settings(tmp_path / "cut"))
    monkeypatch.setattr(Muon, "step", step)
    resumed = make.pretrain(tokenizer, settings(tmp_path / "cut"))

    for (name, one), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_state_of_other_settings_is_refused_and_left(tokenizer: Any, tmp_path: Path) -> None:
    """
    Going on with another seed or rate would make a model that no command makes again.
    """
    make.pretrain(tokenizer, settings(tmp_path, steps=2))
    before = (tmp_path / "state.safetensors").read_bytes()

    with pytest.raises(OtherSettings, match="learning_rate"):
        make.pretrain(tokenizer, settings(tmp_path, steps=2, learning_rate=2e-3))
    assert (tmp_path / "state.safetensors").read_bytes() == before


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 32, 96), (2, 96, 32)])
def test_an_update_of_muon_is_nearly_orthogonal(shape: tuple[int, int, int]) -> None:
    """
    Every direction gets a step of about the same size, whatever its gradient was.
    """
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=torch.manual_seed(0))))

    assert values.quantile(0.05) > 0.4
    assert values.max() < 1.3
