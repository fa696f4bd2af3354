"""
A question that is not to be answered: its loss is that beside an answer, and nothing is generated.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from finetuned.config import ModelConfig
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.suite import Question


def test_the_loss_alone_is_the_loss_beside_an_answer(tiny_base: Path) -> None:
    """
    A first look and a whole one compare the same figure.
    """
    from finetuned.inference.ask import ask
    from finetuned.model.load import load_version

    model = load_version(tiny_base, None, ModelConfig(device="cpu", dtype="float32"))
    renderer = Renderer.load(tiny_base, max_length=512)
    rows = [{"prompt": f"say {'more ' * i}", "completion": f"answer {i}"} for i in range(5)]
    answered = [
        Question(str(i), to_example(r), "", "", r["completion"]) for i, r in enumerate(rows)
    ]
    passes = 0

    def count() -> None:
        nonlocal passes
        passes += 1

    def outcomes(questions: list[Question]) -> list[tuple[float, int, str | None]]:
        found = ask(
            model,
            renderer,
            questions,
            max_new_tokens=8,
            batch_size=32,
            deadline=time.monotonic() + 60,
            on_progress=count,
        )
        return [(o.loss_sum, o.n_tokens, o.raw.text) for o in found]

    whole, generating = outcomes(answered), passes
    losses = outcomes([replace(q, generated=False) for q in answered])

    assert pytest.approx([loss for loss, _, _ in whole], rel=1e-4) == [x for x, _, _ in losses]
    assert [n for _, n, _ in whole] == [n for _, n, _ in losses]
    assert [None] * len(rows) == [text for _, _, text in losses]
    assert passes - generating < generating
