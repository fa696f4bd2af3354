"""
One model asked a suite: what is known is taken from the store, in parts and whole.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetuned.config import EvaluationConfig
from finetuned.data.render import Renderer
from finetuned.data.suite import load_suite
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.asked import Asked
from finetuned.evaluation.examiner import NOT_REACHED, Examiner
from finetuned.evaluation.identity import question_key
from finetuned.files.shipped import shipped

CHECKOUT = Path(__file__).parents[2]
MODEL = "a model"


def not_loaded():
    raise AssertionError("every answer is known, so no model is needed")


@pytest.fixture
def renderer():
    return Renderer.load(shipped().bases / "micro", max_length=2048)


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("n_first", [1, 7])
def test_a_suite_that_was_asked_in_part_can_be_asked_whole(tmp_path, renderer, n_first, generated):
    """
    A first look takes the loss of some items; if it settles nothing, all are asked.
    """
    whole = load_suite(CHECKOUT / "benchmarks" / "examples" / "canaries.jsonl")
    some = tuple(replace(q, generated=generated) for q in whole.questions[:n_first])
    part = replace(whole, questions=some)
    store, config = AnswerStore(tmp_path / "answers.sqlite3"), EvaluationConfig()
    limits = (config.max_new_tokens,)
    known = replace(NOT_REACHED, text="yes", stopped=True, timed_out=False)
    store.add(MODEL, {question_key(renderer, q, limits): known for q in whole.questions})
    lost = replace(known, text=None, stopped=False)
    if not generated:
        store.add(MODEL, {question_key(renderer, q, limits): lost for q in some})
    examiner = Examiner(renderer, config, store)

    asked = [
        examiner.measure(Asked(not_loaded, MODEL), suite, deadline=float("inf")).outcomes
        for suite in (part, whole)
    ]
    store.close()

    assert [[q.id for q in part.questions], [q.id for q in whole.questions]] == list(
        map(list, asked)
    )
    assert {generated} == {o.correct is not None for o in asked[0].values()}
    assert {True} == {o.correct is not None for o in asked[1].values()}
