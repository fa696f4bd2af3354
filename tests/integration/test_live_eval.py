"""
Live evals stay inside their budget and their deadline.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from finetuned.config import EvaluationConfig


@pytest.fixture(scope="module")
def parts(tiny_base: Path) -> dict[str, Any]:
    from finetuned.config import ModelConfig
    from finetuned.data.reader import to_example
    from finetuned.data.render import Renderer
    from finetuned.data.suite import Question
    from finetuned.model.load import load_version

    renderer = Renderer.load(tiny_base, max_length=512)
    questions = []
    for i in range(12):
        example = to_example({"prompt": f"say {i}", "completion": f"ok {i}"})
        questions.append(Question(str(i), example, "", f"say {i}", renderer.golden(example)))
    model = load_version(tiny_base, None, ModelConfig(base="tiny", device="cpu"))
    return {"renderer": renderer, "questions": questions, "model": model}


def make(parts: dict[str, Any], **options: Any) -> Any:
    from finetuned.training.live_eval import LiveEval

    stopping = options.pop("stopping", lambda: False)
    return LiveEval(
        parts["model"],
        parts["questions"],
        parts["renderer"],
        EvaluationConfig(**options),
        on_progress=options.pop("on_progress", lambda: None),
        stopping=stopping,
    )


def test_evals_ask_fewer_rows_rather_than_cost_more(parts: dict[str, Any]) -> None:
    """
    What a row costs is measured; past the share of wall time nothing is asked.
    """
    live = make(parts, max_wall_fraction=0.05, max_new_tokens=8)
    assert 1 == live.rows_affordable(0.0)  # the first look, so that there is an answer early
    live.look(8)
    spent = live.seconds

    assert 0 == live.rows_affordable(spent / 0.05)
    assert 8 == live.rows_affordable((spent + 2 * spent) / 0.05)
    assert 4 == live.rows_affordable((spent + 0.85 * spent) / 0.05)
    assert 1 == live.rows_affordable((spent + 0.55 * spent) / 0.05)


def test_over_a_job_the_share_of_wall_time_is_kept(parts: dict[str, Any]) -> None:
    """
    Whatever a look costs, after the first one the sum stays under the limit.
    """
    live = make(parts, max_wall_fraction=0.05, max_new_tokens=8)
    live.look(1)
    clock = live.seconds / 0.05
    for _ in range(400):
        clock += 0.05  # a training step
        before = live.seconds
        if rows := live.rows_affordable(clock):
            live.look(rows)
            clock += live.seconds - before

    assert live.seconds / clock < 0.055


def test_the_deadline_ends_a_generation_that_goes_on(parts: dict[str, Any]) -> None:
    """
    Between two tokens the clock is looked at: a late answer is cut and has no mark.
    """
    live = make(parts, timeout_seconds=0.1, max_new_tokens=4000)
    slow = parts["model"].forward
    try:
        parts["model"].forward = lambda *a, **k: (time.sleep(0.03), slow(*a, **k))[1]
        began = time.monotonic()
        outcomes = live.look(2)
        took = time.monotonic() - began
    finally:
        del parts["model"].forward

    assert took < 1.0
    assert {None} == {o.matches for o in outcomes}
    assert all(o.timed_out for o in outcomes)


def test_a_look_that_was_cut_waits_until_it_may_take_longer(parts: dict[str, Any]) -> None:
    """
    The first is cut to what fits into the job; a slow model's looks do not use up its share.
    """
    live = make(parts, max_wall_fraction=0.05, max_new_tokens=4000)
    allowed = live.seconds_allowed(1.0, 100.0)
    slow = parts["model"].forward
    try:
        parts["model"].forward = lambda *a, **k: (time.sleep(0.03), slow(*a, **k))[1]
        live.look(1, seconds=0.2)
    finally:
        del parts["model"].forward

    assert 2.5 == allowed
    assert live.seconds < 2.0
    assert 0 == live.rows_affordable(live.seconds * 2.5 / 0.05)
    assert 1 == live.rows_affordable(live.seconds * 3.5 / 0.05)


def test_a_stop_is_obeyed_inside_a_generation(parts: dict[str, Any]) -> None:
    """
    The worker does not finish its looks when it was asked to leave.
    """
    asked = iter([False, False, True])
    live = make(parts, stopping=lambda: next(asked, True), max_new_tokens=4000)

    assert [] == live.look(4)


def test_every_held_out_row_gets_its_turn(parts: dict[str, Any]) -> None:
    """
    The looks rotate over all questions.
    """
    live = make(parts, max_new_tokens=2)
    seen = {o.question.id for _ in range(4) for o in live.look(3)}

    assert {str(i) for i in range(12)} == seen


def test_a_look_leaves_training_as_it_was(parts: dict[str, Any]) -> None:
    """
    Mode, cache setting and random numbers are the same after as before.
    """
    import torch

    model = parts["model"].train()
    model.config.use_cache = False
    before = torch.get_rng_state()
    make(parts, max_new_tokens=4).look(2)

    assert model.training
    assert model.config.use_cache is False
    assert torch.equal(before, torch.get_rng_state())
