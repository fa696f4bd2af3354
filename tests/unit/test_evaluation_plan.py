"""
Which items of a suite are asked when: nested parts, and what no lack of time takes away.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import EvaluationConfig, GateConfig
from finetuned.core.answer_format import make_format
from finetuned.core.sample import LEAST_ASKED
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.suite import Suite
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.examiner import Asked, Examiner, freely
from finetuned.evaluation.identity import question_key
from finetuned.evaluation.plan import Plan, TimeLimit, growing_parts, least_sizes, make_plan
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.shipped import shipped
from support.outcomes import RAW, make_suite

OLDER = (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)
sizes = st.lists(st.tuples(st.sampled_from(SuiteOrigin), st.integers(0, 300)), max_size=5)


@settings(deadline=None, max_examples=40)
@given(sizes)
def test_what_no_lack_of_time_takes_away(found: list[tuple[SuiteOrigin, int]]) -> None:
    """
    All new rows and canaries, and as many older items as the rule of samples demands.
    """
    suites = [make_suite(f"s{i}", n, origin) for i, (origin, n) in enumerate(found)]
    least = least_sizes(suites, GateConfig())

    assert [n for (origin, n) in found if origin not in OLDER] == [
        n for n, (origin, _) in zip(least, found, strict=True) if origin not in OLDER
    ]
    for (origin, n), asked in zip(found, least, strict=True):
        if origin is SuiteOrigin.BENCHMARK:
            assert asked >= min(n, LEAST_ASKED)
    old = [(n, asked) for (o, n), asked in zip(found, least, strict=True) if o is SuiteOrigin.OLD]
    assert sum(asked for _, asked in old) == min(sum(n for n, _ in old), LEAST_ASKED)


def test_a_suite_with_a_share_to_reach_is_asked_whole() -> None:
    """
    With a sample the share would be judged by its rate, which proves less.
    """
    suites = [make_suite(name, 200, SuiteOrigin.BENCHMARK) for name in ("a", "b")]

    assert [200, 32] == least_sizes(suites, GateConfig(ship_gates="a >= 0.95"))
    assert [32, 200] == least_sizes(suites, GateConfig(quality_gates="b >= 0.95"))
    assert [200, 200] == least_sizes(suites, GateConfig(ship_gates="overall >= 0.95"))
    assert [200, 200] == least_sizes(suites, GateConfig(max_invented=0.02))


@settings(deadline=None, max_examples=40)
@given(sizes)
def test_a_part_holds_the_one_before_and_counts_what_it_leaves_out(
    found: list[tuple[SuiteOrigin, int]],
) -> None:
    """
    Of benchmarks and older files; new rows and canaries are whole from the first part on.
    """
    suites = [PickedSuite(make_suite(f"s{i}", n, origin)) for i, (origin, n) in enumerate(found)]
    before: list[set[str]] = [set() for _ in suites]
    for part in growing_parts(suites):
        for whole, picked in zip(suites, part, strict=True):
            n = len(picked.suite.questions)
            assert n + picked.n_unasked == len(whole.suite.questions)
            assert not picked.n_unasked or whole.suite.origin in OLDER
        asked = [{q.id for q in picked.suite.questions} for picked in part]
        assert all(a <= b for a, b in zip(before, asked, strict=True))
        assert any(picked.n_unasked for picked in part)
        before = asked


FORMAT = make_format("any", {"type": "object", "additionalProperties": False})


def planned(folder: Path, suite: Suite, mode: str, known: dict[str, Suite]) -> Plan:
    """
    Return the plan for a candidate that has answered *suite*, and another model that has not.

    Args:
        folder: Of the store of answers.
        suite: Every second answer of the candidate to it was changed by its format.
        mode: evaluation.format_mode.
        known: Further suites that a model has answered, by model.
    """
    config = EvaluationConfig(format_mode=mode)
    renderer = Renderer.load(shipped().bases / "micro", max_length=512)
    store = AnswerStore(folder / f"{mode}{len(known)}.sqlite3")
    for model, answered in {"candidate": suite, **known}.items():
        store.add(
            model,
            {
                question_key(renderer, q, (config.max_new_tokens,)): replace(RAW, n_refused=i % 2)
                for i, q in enumerate(answered.questions)
            },
        )

    def load() -> Any:
        raise AssertionError("what the candidate answers is known")

    limit = TimeLimit(time.monotonic() + 1e6, None)
    plan = make_plan(
        Examiner(renderer, config, store),
        [PickedSuite(suite)],
        Asked(load, "candidate"),
        [Asked(load, "other")],
        limit=lambda: limit,
        gate=GateConfig(),
    )
    store.close()
    return plan


def test_answers_that_are_given_freely_as_well_are_in_the_plan(tmp_path: Path) -> None:
    """
    Those that the format changed, known or foreseen by their share; none is counted that is known.
    """
    made = make_suite("s", 4, SuiteOrigin.NEW)
    example = [to_example({"prompt": f"q {i}", "completion": "{}"}) for i in range(4)]
    suite = replace(
        made,
        questions=tuple(
            replace(q, example=e, golden="{}", answer_format=FORMAT)
            for q, e in zip(made.questions, example, strict=True)
        ),
    )
    held, both = (planned(tmp_path, suite, mode, {}) for mode in ("held", "both"))
    assert both.pace is not None
    own, other = (
        both.pace.seconds(PickedSuite(suite), q, own=own, limit=EvaluationConfig().max_new_tokens)
        for q in suite.questions[:1]
        for own in (True, False)
    )

    assert 4 * other == pytest.approx(held.seconds)
    assert 4 * other + 2 * own + 4 * 0.5 * other == pytest.approx(both.seconds)
    free = {"candidate-free": suite}
    assert both.seconds == planned(tmp_path, suite, "both", free).seconds  # of another model
    whole = replace(suite, questions=(*suite.questions, *freely(suite, suite.questions).questions))
    again = planned(tmp_path, suite, "both", {"candidate": whole})
    assert 4 * other + 4 * 0.5 * other == pytest.approx(again.seconds)


def test_answers_without_a_format_are_given_once(tmp_path: Path) -> None:
    """
    Whatever the mode is.
    """
    suite = make_suite("s", 4, SuiteOrigin.NEW)

    assert (
        planned(tmp_path, suite, "held", {}).seconds == planned(tmp_path, suite, "both", {}).seconds
    )
