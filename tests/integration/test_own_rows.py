"""
Rows that a base model writes itself can be trained, and none is lost without a count.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    from finetuned.config import ModelConfig
    from finetuned.data.render import Renderer
    from finetuned.model.load import load_causal_lm

    renderer = Renderer.load(MICRO, max_length=512, enable_thinking=False)
    return load_causal_lm(MICRO, ModelConfig(device="cpu", dtype="float32")), renderer


def test_the_same_seed_writes_the_same_rows_each_prompt_once(loaded: tuple[Any, Any]) -> None:
    """The rows are whole conversations that the renderer takes, as any row of a user."""
    from finetuned.data.examples import Example
    from finetuned.inference.own_rows import OwnRow, OwnRows

    def written() -> list[OwnRow]:
        own = OwnRows(*loaded, seed=3, max_new_tokens=64)
        return list(own.rows(12, time.monotonic() + 300))

    rows = written()
    assert rows == written()
    assert 12 == len({row.prompt for row in rows})
    for row in rows:
        user = {"role": "user", "content": row.prompt}
        messages = [user, {"role": "assistant", "content": row.answer}]
        loaded[1].render(Example("conversation", "messages", messages))


def test_every_prompt_that_became_no_row_is_counted(loaded: tuple[Any, Any]) -> None:
    """Answers of one token end with no stop token: none is a row, and the tries are bounded."""
    from finetuned.inference.own_rows import TOGETHER, TRIES, OwnRows

    own = OwnRows(*loaded, max_new_tokens=1)
    assert [] == list(own.rows(2, time.monotonic() + 300))
    assert TRIES * 2 == own.refused.total() == TOGETHER
    assert "an answer without an end" in own.refused


def test_no_time_is_no_rows(loaded: tuple[Any, Any]) -> None:
    """A deadline that has passed ends the writing before the first prompt."""
    from finetuned.inference.own_rows import OwnRows

    own = OwnRows(*loaded)
    assert [] == list(own.rows(5, time.monotonic() - 1))
    assert not own.refused
